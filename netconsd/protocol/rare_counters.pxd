# CPU per dropped duplicate in SourceTable.feed: 0.117 us, with only this file in plain Python 0.130 us. A flood consists
# of duplicates or of datagrams over the rate.
cdef class RareCounters:
    cdef public long long dropped_duplicate, dropped_over_rate, incomplete, late
    cdef public double crash_until, crash_arrival, limited_at
    cdef public long long limited, limited_datagrams

cdef double _LONG_AGO
