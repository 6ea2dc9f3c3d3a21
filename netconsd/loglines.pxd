cimport cython

from netconsd.message cimport ExtendedMessage

cdef bytes _PLAIN
cdef list _LEVELS

@cython.locals(
    extended=ExtendedMessage,
    lines=list,
    raw=bytes,
    when=bytes,
    joined=bytes,
    received_at=double,
    end=Py_ssize_t,
    ts_usec="unsigned long long",
)
cpdef bytes log_lines(messages)

cdef bint _has_marks(ExtendedMessage message)
