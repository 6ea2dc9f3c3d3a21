from cpython cimport array

from netconsd.crash cimport search

cdef class Prefilter:
    cdef object _pattern
    cdef bytes _literals
    cdef bytes _bits
    cdef array.array _buckets
    cdef array.array _entries
    cdef Py_ssize_t _step
    cdef Py_ssize_t _reach
    cpdef Py_ssize_t find(self, bytes data, Py_ssize_t start, Py_ssize_t end)
