# CPU per held message (get, add, lowest, pop): 0.22 us compiled, 1.09 us in plain Python.
cimport cython

from netconsd.protocol cimport memory
from netconsd.protocol.message cimport ExtendedMessage

cdef double _NEVER
cdef Py_ssize_t HELD_LIMIT, HELD_BYTES_LIMIT, MESSAGE_OVERHEAD, BUFFER_OVERHEAD, GROUPS_LIMIT, COMPACT_AT, _AHEAD

@cython.final
cdef class ReorderBuffer:
    cdef list _messages
    cdef Py_ssize_t _first
    cdef list _groups
    cdef double _slack
    cdef double _last_deadline
    cdef unsigned long long _last_highest
    cdef readonly Py_ssize_t cost
    cdef readonly double deadline

    cpdef Py_ssize_t count(self)
    cpdef bint is_over_limit(self) except -1
    @cython.locals(seq="unsigned long long", index=Py_ssize_t)
    cpdef add(self, ExtendedMessage message, double deadline)
    @cython.locals(message=ExtendedMessage, index=Py_ssize_t)
    cpdef ExtendedMessage get(self, unsigned long long seq)
    @cython.locals(message=ExtendedMessage)
    cpdef list seqs(self)
    @cython.locals(message=ExtendedMessage)
    cpdef ExtendedMessage lowest(self)
    @cython.locals(message=ExtendedMessage)
    cpdef ExtendedMessage pop(self)
    cpdef expire(self, double now)
    @cython.locals(message=ExtendedMessage, low=Py_ssize_t, high=Py_ssize_t, middle=Py_ssize_t)
    cdef Py_ssize_t _index(self, unsigned long long seq)
