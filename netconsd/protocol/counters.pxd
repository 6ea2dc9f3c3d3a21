cdef class WorkerCounters:
    cdef public long long datagrams, octets
    cdef public long long whole, fragments, legacy, duplicates, empty, limited, skipped, skipped_octets
    cdef public long long messages, lines, reassembled
    cdef public long long incomplete, superseded, malformed, late, resets, replayed, lost, crowded
    # A forged sequence number adds up to 2**64 to it at a time.
    cdef public object missing
    cdef public long long sources_made, sources_aged, sources_evicted
