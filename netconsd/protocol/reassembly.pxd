# CPU per fragment in SourceTable.feed: 0.62 us, with only this file in plain Python 1.45 us.
cimport cython

from netconsd.protocol.message cimport ExtendedMessage
from netconsd.protocol.decode cimport Fragment

cdef Py_ssize_t PIECES_LIMIT, PIECE_OVERHEAD, REASSEMBLY_OVERHEAD

@cython.final
cdef class Reassembly:
    cdef readonly ExtendedMessage first
    cdef readonly Py_ssize_t total
    cdef readonly Py_ssize_t got
    cdef readonly Py_ssize_t cost
    cdef readonly double deadline
    cdef readonly bint complete
    cdef Py_ssize_t _end
    cdef list _offsets
    cdef list _pieces

    cdef _begin(self, Fragment first, double deadline)
    cpdef bint add(self, Py_ssize_t offset, bytes piece) except -1
    @cython.locals(first=ExtendedMessage, piece=ExtendedMessage)
    cdef bint is_of(self, Fragment fragment) except -1
    cdef list _places(self)
    @cython.locals(offsets=list, end=Py_ssize_t, at=Py_ssize_t, upto=Py_ssize_t, index=Py_ssize_t, added=bint)
    cdef bint _fill(self, Py_ssize_t offset, bytes piece) except -1
    cdef _count(self, Py_ssize_t size)
    cpdef ExtendedMessage message(self)

@cython.locals(reassembly=Reassembly)
cpdef Reassembly new_reassembly(Fragment first, double deadline)
