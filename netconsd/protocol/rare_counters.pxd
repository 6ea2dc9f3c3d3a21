from netconsd.protocol.counters cimport WorkerCounters

cdef class RareCounters:
    cdef WorkerCounters _counters
    cdef readonly long long released_early, dropped_duplicate, dropped_empty, fragments, incomplete, late, dropped_over_rate, malformed
    cdef readonly long long reassembled, replayed, resets, dropped_superseded

    cpdef count_released_early(self)
    cpdef count_dropped_duplicate(self)
    cpdef count_dropped_empty(self)
    cpdef count_fragment(self)
    cpdef count_incomplete(self)
    cpdef count_late(self)
    cpdef count_dropped_over_rate(self)
    cpdef count_malformed(self)
    cpdef count_reassembled(self)
    cpdef count_replayed(self)
    cpdef count_reset(self)
    cpdef count_dropped_superseded(self)
