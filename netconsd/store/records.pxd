cimport cython

from netconsd.protocol.message cimport ExtendedMessage, LegacyDatagram, Message, Source
from netconsd.store cimport packing

cdef class Block:
    cdef public bytearray data
    cdef public Py_ssize_t used
    cdef public Py_ssize_t count

    cpdef void clear(self) noexcept

    @cython.locals(message=Message, length=Py_ssize_t)
    cpdef Py_ssize_t fill(self, list messages, Py_ssize_t start) except -1

    @cython.locals(
        extended=ExtendedMessage, source=Source, raw=bytes, caller=bytes, release=bytes, data=bytearray,
        flags=int, prefix=int, seq="unsigned long long", ts_usec="unsigned long long", msgid="long long",
        missing="unsigned long long", lost="long long", likely_lost="unsigned long long",
        size=Py_ssize_t, caller_size=Py_ssize_t, release_size=Py_ssize_t, at=Py_ssize_t
    )
    cpdef bint add(self, Message message) except -1
