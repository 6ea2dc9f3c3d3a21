cimport cython
from cpython cimport array
@cython.no_gc
cdef class Window:
    cdef public unsigned long long top
    cdef unsigned long long _bottom
    cdef array.array _stamps
    cpdef unsigned long long stamp(self, unsigned long long seq)
    @cython.locals(mask="unsigned long long", skipped="unsigned long long")
    cpdef advance(self, unsigned long long seq, unsigned long long stamp)
    cpdef fill(self, unsigned long long seq, unsigned long long stamp)
    cpdef list missing(self)
    cdef _grow(self, unsigned long long distance)
