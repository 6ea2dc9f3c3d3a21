cimport cython

cdef int _NEWLINE, _NUL, _ZERO

@cython.locals(end=Py_ssize_t, start=Py_ssize_t, msgid="long long", octet=int)
cpdef long long msgid_of(bytes body)
