from cpython cimport array
from libc.string cimport memchr

cdef inline Py_ssize_t find(bytes octets, int octet, Py_ssize_t start):
    cdef const char *first = octets
    cdef const char *found = <const char *>memchr(first + start, octet, len(octets) - start)
    return -1 if found == NULL else found - first

cdef inline unsigned long long stamp_at(array.array stamps, unsigned long long index) noexcept:
    return stamps.data.as_ulonglongs[index]

cdef inline void put_stamp(array.array stamps, unsigned long long index, unsigned long long stamp) noexcept:
    stamps.data.as_ulonglongs[index] = stamp
