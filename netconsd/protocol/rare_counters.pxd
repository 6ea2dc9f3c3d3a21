cdef class RareCounters:
    cdef public long long dropped_duplicate, dropped_over_rate, incomplete, late
