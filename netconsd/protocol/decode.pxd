# Per datagram with release and sysdata: 0.14 us of CPU compiled, 5.0 us in plain Python.
cimport cython

from netconsd.protocol cimport octets
from netconsd.protocol.body cimport msgid_of
from netconsd.protocol.message cimport ExtendedMessage, Source

cdef Py_ssize_t RELEASE_LIMIT, TOTAL_LIMIT, _U64_DIGITS
cdef unsigned long long PREFIX_LIMIT, _U64_LIMIT, _LEAST_OF_20_DIGITS
cdef int _COMMA, _SEMICOLON, _ZERO, _MINUS, _PLUS, _STAR, _C, _T, _UPPER_C, _SLASH, _EQUALS, _ONE, _FIRST_VISIBLE, _LAST_VISIBLE
cdef bytes _NCFRAG, _NCEMG

cdef class Fragment:
    cdef readonly ExtendedMessage piece
    cdef readonly Py_ssize_t offset
    cdef readonly Py_ssize_t total

cdef class _Keys:
    cdef bytes caller
    cdef bint ncemg
    cdef bint emergency
    cdef Py_ssize_t offset
    cdef Py_ssize_t total

cpdef decode(bytes datagram, Source source, double received_at)

@cython.locals(
    datagram_c="const char *", flag_at=Py_ssize_t, prefix=int, seq="unsigned long long", ts_usec="unsigned long long",
    release_at=Py_ssize_t, release_end=Py_ssize_t, replayed=bint, length=Py_ssize_t, first=Py_ssize_t, index=Py_ssize_t,
    flag=int, keys=_Keys, emergency=bint, offset=Py_ssize_t, total=Py_ssize_t, end=Py_ssize_t, body=bytes, caller=bytes, message=ExtendedMessage, fragment=Fragment
)
cpdef read(bytes datagram, Source source, double received_at)

@cython.locals(
    start=Py_ssize_t, replayed=bint, release_at=Py_ssize_t, release_end=Py_ssize_t, flag_at=Py_ssize_t, prefix=int,
    seq="unsigned long long", ts_usec="unsigned long long"
)
cdef (Py_ssize_t, int, unsigned long long, unsigned long long, Py_ssize_t, Py_ssize_t, bint) _find_header(bytes datagram) noexcept

@cython.locals(
    prefix=int, seq="unsigned long long", number="unsigned long long", length=Py_ssize_t, index=Py_ssize_t, field=int,
    first=Py_ssize_t, last=Py_ssize_t, digit=int, digits=Py_ssize_t
)
cdef (Py_ssize_t, int, unsigned long long, unsigned long long) _numbers_at(bytes datagram, Py_ssize_t start) noexcept

cdef bint _is_u64(int first_digit, unsigned long long number) noexcept

@cython.locals(length=Py_ssize_t, flag=int)
cdef bint _is_flag(bytes datagram, Py_ssize_t index) except -1

@cython.locals(index=Py_ssize_t, end=Py_ssize_t, octet=int)
cdef Py_ssize_t _end_of_release(bytes datagram, Py_ssize_t start)

@cython.locals(datagram_c="const char *", first=Py_ssize_t, index=Py_ssize_t, digit=int)
cdef bytes _only_caller(bytes datagram, Py_ssize_t start, Py_ssize_t end)

@cython.locals(index=Py_ssize_t)
cdef Py_ssize_t _end_of_caller(bytes datagram, Py_ssize_t start, Py_ssize_t end) noexcept

@cython.locals(first=Py_ssize_t, slash=Py_ssize_t, offset=Py_ssize_t, total=Py_ssize_t)
cdef (Py_ssize_t, Py_ssize_t) _only_ncfrag(bytes datagram, Py_ssize_t start, Py_ssize_t end) noexcept

@cython.locals(keys=_Keys, length=Py_ssize_t, at=Py_ssize_t, end=Py_ssize_t, slash=Py_ssize_t, caller=bytes)
cdef _Keys _read_keys(bytes text)

@cython.locals(after=Py_ssize_t)
cdef bint _is_key(bytes text, Py_ssize_t start, Py_ssize_t end, bytes key) except -1

@cython.locals(number=Py_ssize_t, index=Py_ssize_t, digit=int)
cdef Py_ssize_t _short_decimal(bytes text, Py_ssize_t start, Py_ssize_t end) noexcept
