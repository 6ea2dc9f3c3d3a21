# CPU per dropped duplicate in SourceTable.feed: 0.117 us, with only this file in plain Python 0.130 us. A flood consists
# of duplicates or of datagrams over the rate.
cdef class RareCounters:
    cdef public double crash_until, crash_arrival, limited_at
    cdef public long long limited, limited_datagrams
    cdef public long long boots, dropped_duplicate, dropped_over_rate, incomplete, late, replays
    # A forged sequence number adds up to 2**64 at a time; the sum is bounded.
    cdef public unsigned long long missing, lost, likely_lost
    cdef public unsigned long long gap_seq
    cdef public long long gap_messages, gap_credit
    cdef public object replay

cdef double _LONG_AGO
