# Per message: msgid_of (every message) 0.05 us of CPU compiled, 0.6 us in plain Python; text_of (when a module reads the
# text) 0.06 and 0.4 us; parse (dictionary, userdata, sysdata) 0.15 and 1.3 us.
cimport cython

from netconsd.protocol cimport octets

cdef int _NEWLINE, _NUL, _ZERO, _BACKSLASH, _CARRIAGE_RETURN
cdef Py_ssize_t _U32_DIGITS
cdef long long MSGID_LIMIT

cpdef str readable(bytes data)
cpdef bytes unescape(bytes data)
cpdef bytes escape(bytes data)

@cython.locals(body_c="const char *", end=Py_ssize_t, backslash=Py_ssize_t, has_stray=bint, text=str)
cpdef str text_of(bytes body)

@cython.locals(index=Py_ssize_t)
cpdef long long msgid_of(bytes body) except? -2

@cython.locals(body_c="const unsigned char *", end=Py_ssize_t, msgid="long long", octet=int)
cdef long long _msgid_from(bytes body, Py_ssize_t index) except? -2

@cython.locals(body_c="const unsigned char *", end=Py_ssize_t, start=Py_ssize_t, octet=int)
cdef Py_ssize_t _msgid_at(bytes body) except -2

cdef Py_ssize_t CACHED_BYTES, _CACHED_MASK
cdef list _cached

@cython.final
cdef class Body:
    cdef readonly object dictionary, userdata, cpu, taskname, release
    cdef bytes tail
    cpdef tuple _state(self)

@cython.locals(
    body_c="const char *", end=Py_ssize_t, start=Py_ssize_t, msgid_at=Py_ssize_t, tail=bytes, place=Py_ssize_t, cached=Body, parsed=Body
)
cpdef Body parse(bytes body)

@cython.locals(start=Py_ssize_t, end=Py_ssize_t)
cpdef Body _parse(bytes tail)
