# The loop over the files of a batch, with the lock and the write, in C: few lines are for each of many files.
cimport cython

from netconsd.logger.lines cimport rendered

cdef class OpenFile:
    cdef public object lock, identity
    cdef public int fd
    cdef public bint gone
    cdef public long long size, lines
    cdef public Py_ssize_t worker
    cdef public double begin, checked, end, high, low

@cython.locals(size=Py_ssize_t, written=Py_ssize_t)
cpdef write(OpenFile file, Py_ssize_t worker, str name, bytes data, Py_ssize_t count, double now, failed)

@cython.locals(name=str, group=list, lines=list, data=bytes, file=OpenFile)
cpdef append_groups(
    dict open_files, Py_ssize_t worker, dict groups, form, double now, long long most, append, failed
)
