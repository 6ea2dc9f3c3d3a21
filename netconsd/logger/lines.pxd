cimport cython

from netconsd.protocol cimport octets
from netconsd.protocol.message cimport ExtendedMessage, Message, Source

cdef int _NEWLINE
cdef list _LEVELS

@cython.locals(
    extended=ExtendedMessage,
    parts=list,
    texts=list,
    lines=list,
    text="const char *",
    part=bytes,
    line=bytes,
    when=bytes,
    received_at=double,
    end=Py_ssize_t,
)
cpdef bytes log_lines(messages)

@cython.locals(message=Message, source=Source, groups=dict, by_source=dict, group=list)
cpdef dict by_file(messages, dict names, name_of)

@cython.locals(extended=ExtendedMessage)
cdef Py_ssize_t _plain_end(message) except -1
