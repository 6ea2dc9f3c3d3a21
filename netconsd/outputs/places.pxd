# Per message in a batch of 512: 0.005 us of CPU, in plain Python 0.06 us.
cimport cython
from netconsd.protocol.message cimport Message

@cython.locals(message=Message, raw=bytes, total=Py_ssize_t)
cpdef Py_ssize_t places(list messages)
