# CPU per fragment in SourceTable.feed: 0.88 us, with only this file in plain Python 1.45 us.
cimport cython

from netconsd.protocol.message cimport ExtendedMessage
from netconsd.protocol.decode cimport Fragment

cdef class Reassembly:
    cdef readonly ExtendedMessage first
    cdef readonly Py_ssize_t total
    cdef readonly Py_ssize_t got
    cdef readonly double deadline
    cdef list _offsets
    cdef list _pieces

    @cython.locals(end=Py_ssize_t, at=Py_ssize_t, upto=Py_ssize_t, index=Py_ssize_t, added=bint)
    cpdef bint add(self, Py_ssize_t offset, bytes piece)
    cpdef ExtendedMessage message(self)
