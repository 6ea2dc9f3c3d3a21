cimport cython
from netconsd.message cimport ExtendedMessage

@cython.no_gc
cdef class Waiting:
    cdef dict _messages
    cdef list _order
    cdef object _arrivals
    cdef readonly Py_ssize_t cost
    cdef readonly double deadline

    cpdef add(self, ExtendedMessage message, double deadline)
    cpdef ExtendedMessage get(self, unsigned long long seq)
    cpdef ExtendedMessage lowest(self)
    @cython.locals(message=ExtendedMessage)
    cpdef ExtendedMessage pop(self)
    cpdef overdue(self, double now)
