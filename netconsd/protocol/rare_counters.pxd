from netconsd.protocol.counters cimport WorkerCounters

cdef class RareCounters:
    cdef WorkerCounters _counters
    cdef readonly long long crowded, duplicates, empty, fragments, incomplete, late, limited, malformed
    cdef readonly long long reassembled, replayed, resets, superseded

    cpdef count_crowded(self)
    cpdef count_duplicate(self)
    cpdef count_empty(self)
    cpdef count_fragment(self)
    cpdef count_incomplete(self)
    cpdef count_late(self)
    cpdef count_limited(self)
    cpdef count_malformed(self)
    cpdef count_reassembled(self)
    cpdef count_replayed(self)
    cpdef count_reset(self)
    cpdef count_superseded(self)
