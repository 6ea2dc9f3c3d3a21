# CPU per datagram in SourceTable.feed, 32,768 senders in turn: 0.43 us with an OrderedDict.
cimport cython
from cpython cimport array

from netconsd.protocol cimport octets
from netconsd.protocol.stream cimport Stream

cdef int _SHIFT
cdef unsigned long long _NEWER

@cython.final
cdef class Recency:
    cdef array.array _links
    cdef list _streams
    cdef unsigned long long _free

    @cython.locals(number="unsigned long long")
    cpdef unsigned long long add(self, Stream stream) except 0
    cpdef void touch(self, unsigned long long number) noexcept
    cpdef remove(self, unsigned long long number)
    cpdef Stream oldest(self)
    cpdef unsigned long long older(self, unsigned long long number) noexcept
    cpdef Stream stream(self, unsigned long long number)
    @cython.locals(links=array.array, ends="unsigned long long", newest="unsigned long long")
    cdef void _link(self, unsigned long long number) noexcept
    @cython.locals(
        links=array.array, link="unsigned long long", older="unsigned long long", newer="unsigned long long"
    )
    cdef void _unlink(self, unsigned long long number) noexcept
