from cpython cimport array

cdef inline unsigned long long stamp_at(array.array stamps, unsigned long long index) noexcept:
    return stamps.data.as_ulonglongs[index]

cdef inline void put_stamp(array.array stamps, unsigned long long index, unsigned long long stamp) noexcept:
    stamps.data.as_ulonglongs[index] = stamp
