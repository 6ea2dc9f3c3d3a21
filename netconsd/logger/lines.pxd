# Instructions of the logger per message, in batches of 300 from 50 senders: 2500; with a caller 2600.
cimport cython

from netconsd.protocol cimport octets
from netconsd.protocol.message cimport ExtendedMessage, Message, Source

cdef list _LEVELS

@cython.locals(
    message=Message, extended=ExtendedMessage, source=Source, parts=list, text=bytes, shown=str, when=bytes, line=bytes,
    received_at=double, end=Py_ssize_t, detailed=bint, labelled=bint
)
cpdef list rendered(messages, form)

cpdef bytes log_lines(messages, form=*)

@cython.locals(message=Message, key=bytes, groups=dict, by_key=dict, group=list)
cpdef dict by_file(messages, dict file_names, file_name_of)
