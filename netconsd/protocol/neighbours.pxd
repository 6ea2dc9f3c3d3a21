# CPU for a new sender in SourceTable.feed, the datagram included: 1.3 us, with this file in plain Python 2.0 us.
cimport cython
from cpython cimport array

from netconsd.protocol cimport octets
from netconsd.protocol.recency cimport Recency
from netconsd.protocol.stream cimport Stream

cdef Py_ssize_t _ADDRESS_BYTES
cdef unsigned long long _HASH_MASK

@cython.final
cdef class Neighbours:
    cdef Recency _recency
    cdef array.array _hashes
    cdef readonly array.array _latest
    cdef dict _several

    @cython.locals(
        address=bytes, hashed="unsigned long long", slot=Py_ssize_t, number="unsigned long long", latest=Stream
    )
    cpdef list add(self, bytes key, Stream stream)
    @cython.locals(hashed="unsigned long long", slot=Py_ssize_t, streams=list, last=Stream)
    cpdef remove(self, Stream stream)
