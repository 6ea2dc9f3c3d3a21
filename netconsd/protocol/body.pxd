cimport cython

from netconsd.protocol cimport octets

cdef int _NEWLINE, _NUL, _ZERO, _BACKSLASH
cdef Py_ssize_t _DECIMAL_LIMIT
cdef long long _MSGID_LIMIT
cdef bytes _MSGID

cpdef str readable(bytes data)
cdef str _shown(str text)
cpdef bytes unescape(bytes data)

@cython.locals(text="const char *", end=Py_ssize_t, escape=Py_ssize_t)
cpdef str text_of(bytes body)

@cython.locals(index=Py_ssize_t, msgid="long long", octet=int)
cpdef long long msgid_of(bytes body)

@cython.locals(end=Py_ssize_t, start=Py_ssize_t, octet=int)
cdef Py_ssize_t _msgid_at(bytes body) except -2

@cython.locals(lines="const char *", end=Py_ssize_t, start=Py_ssize_t, tail=bytes)
cpdef parse(bytes body)
