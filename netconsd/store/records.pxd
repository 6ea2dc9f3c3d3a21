cimport cython

from netconsd.protocol.message cimport ExtendedMessage, LegacyDatagram, LegacyMessage, Message, Source, source_of
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

cdef bytes _NO_KEY
cdef Py_ssize_t NO_LIMIT

cdef class Senders:
    cdef dict _known
    cdef list _slots

    @cython.locals(slot=Py_ssize_t, source=Source, key=bytes)
    cpdef Source at(self, bytes data, Py_ssize_t place)

@cython.locals(
    messages=list, sources=dict, octets="const char *", source=Source, key=bytes, at=Py_ssize_t, end=Py_ssize_t,
    size=Py_ssize_t, flags=int, prefix=int, received_at=double, caller_size=Py_ssize_t, release_size=Py_ssize_t,
    seq="unsigned long long", ts_usec="unsigned long long", msgid="long long", rare_at=Py_ssize_t,
    caller_at=Py_ssize_t, release_at=Py_ssize_t, raw_at=Py_ssize_t, record_end=Py_ssize_t, extended=ExtendedMessage,
    message=Message
)
cpdef list unpack(bytes data, Py_ssize_t start=*, Senders senders=*, Py_ssize_t raw_limit=*)
