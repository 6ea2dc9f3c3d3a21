cimport cython

cdef int _NEWLINE, _NUL, _ZERO
cdef bytes _MSGID

cpdef str readable(bytes data)
cpdef bytes unescape(bytes data)

@cython.locals(end=Py_ssize_t)
cpdef str text_of(bytes body)

@cython.locals(end=Py_ssize_t, start=Py_ssize_t, msgid="long long", octet=int)
cpdef long long msgid_of(bytes body)

@cython.locals(end=Py_ssize_t, start=Py_ssize_t, tail=bytes)
cpdef parse(bytes body)
