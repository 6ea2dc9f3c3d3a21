cimport cython
from cpython cimport array

from netconsd.protocol cimport octets

cdef unsigned long long _ABSENT, _FULL_MASK

cdef class Window:
    cdef public unsigned long long top
    cdef unsigned long long _bottom
    cdef unsigned long long _mask
    cdef array.array _stamps
    cpdef unsigned long long stamp(self, unsigned long long seq)
    @cython.locals(mask="unsigned long long", skipped="unsigned long long")
    cpdef advance(self, unsigned long long seq, unsigned long long stamp)
    cpdef fill(self, unsigned long long seq, unsigned long long stamp)
    cpdef list missing(self)
    @cython.locals(
        old=array.array,
        old_mask="unsigned long long",
        capacity="unsigned long long",
        seq="unsigned long long",
        count="unsigned long long",
    )
    cdef _grow(self, unsigned long long distance)
