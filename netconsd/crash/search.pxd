# Per line of 80 bytes: see prefilter.pxd.
from cpython cimport array
from libc.stdint cimport uint32_t
from libc.string cimport memcmp, memcpy

# The constants of prefilter.py.
cdef enum:
    GRAM = 4
    MULTIPLIER = 0x9E3779B1
    HASH_SHIFT = 17
    BUCKET_SHIFT = 24
    FIELDS = 4

cdef inline uint32_t hash_at(const unsigned char *text) noexcept:
    cdef uint32_t gram
    memcpy(&gram, text, GRAM)
    return gram * <uint32_t>MULTIPLIER

cdef inline unsigned char bit_of(const unsigned char *bits, uint32_t hashed) noexcept:
    return bits[hashed >> (HASH_SHIFT + 3)] >> (hashed >> HASH_SHIFT & 7) & 1

cdef inline Py_ssize_t first(
    bytes data, Py_ssize_t start, Py_ssize_t end, object pattern, bytes literals, bytes bits, array.array buckets,
    array.array entries, Py_ssize_t step, Py_ssize_t reach
):
    cdef const unsigned char *text = data
    cdef const unsigned char *bit = bits
    cdef const char *all_literals = literals
    cdef const uint32_t *bucket = <const uint32_t *>buckets.data.as_uints
    cdef const uint32_t *all_entries = <const uint32_t *>entries.data.as_uints
    cdef const uint32_t *entry
    cdef const uint32_t *last
    cdef uint32_t gram, hashed
    cdef Py_ssize_t at, begin, found = -1
    cdef int turn
    if end > len(data):
        end = len(data)
    # The last index, exclusive, at which a gram is read.
    cdef Py_ssize_t stop = end - GRAM + 1
    at = start
    while at < stop:
        # Four at a time, with one branch: two thirds of the time.
        if at + 3 * step < stop and not (
            bit_of(bit, hash_at(text + at)) | bit_of(bit, hash_at(text + at + step))
            | bit_of(bit, hash_at(text + at + 2 * step)) | bit_of(bit, hash_at(text + at + 3 * step))
        ):
            at += 4 * step
            continue
        for turn in range(4):
            if at >= stop:
                break
            hashed = hash_at(text + at)
            if bit_of(bit, hashed):
                memcpy(&gram, text + at, GRAM)
                entry = all_entries + bucket[hashed >> BUCKET_SHIFT]
                last = all_entries + bucket[(hashed >> BUCKET_SHIFT) + 1]
                while entry != last:
                    begin = at - entry[1]
                    if (
                        entry[0] == gram and begin >= start and end - begin >= entry[3]
                        and (found < 0 or begin < found)
                        and memcmp(text + begin, all_literals + entry[2], entry[3]) == 0
                    ):
                        found = begin
                        # A literal that begins earlier can be recognised later, by a gram farther from its begin.
                        if stop > found + reach:
                            stop = found + reach
                    entry += FIELDS
            at += step
    return found
