cimport cython
from cpython cimport array

from netconsd.protocol cimport octets
from netconsd.protocol.body cimport escape, text_of
from netconsd.store cimport packing

cdef int _NEWLINE
cdef Py_ssize_t _VALUE_COST, _AHEAD, _SLOTS, _SENDER_SLOTS
cdef unsigned long long NONE, _U32_MASK
cdef int CALLER, DATAGRAM, EXTENDED, RARE, RELEASE

cdef class _Numbers:
    cdef dict table
    cdef Py_ssize_t size
    cdef Py_ssize_t _mask
    cdef list _values
    cdef array.array _numbers

    @cython.locals(slot=Py_ssize_t, known=bytes, value=bytes, number="unsigned long long")
    cdef unsigned long long number(self, bytes records, Py_ssize_t at, Py_ssize_t size) except? 0
    @cython.locals(index="unsigned long long")
    cdef unsigned long long number_of(self, bytes value) except? 0
    @cython.locals(value=bytes)
    cdef cut(self, Py_ssize_t count)

cdef class Columns:
    cdef _Numbers _senders, _callers, _releases, _tails
    cdef list _blocks
    cdef array.array _where, _who, _counts, _order, _sizes
    cdef list _keys
    cdef Py_ssize_t _sender, _done, _next, _left, _raw_bytes
    cdef readonly Py_ssize_t rows
    cdef readonly long long earliest
    cdef readonly list senders
    cdef readonly array.array received_at, flags, prefix, seq, ts_usec, msgid, caller, release, tail, text_end
    cdef readonly bytearray text
    cdef readonly dict raws, rare, callers, releases, tails

    @cython.locals(at=Py_ssize_t, before=Py_ssize_t, size=Py_ssize_t, least=Py_ssize_t, flags=int, sender=Py_ssize_t,
                   block="unsigned long long", senders=_Numbers, where=array.array, who=array.array, counts=array.array, count=Py_ssize_t, earliest="long long", time="long long", row=Py_ssize_t)
    cpdef add(self, bytes records, Py_ssize_t start=*, Py_ssize_t end=*)

    cpdef tuple mark(self)
    cpdef cut(self, tuple mark)

    cpdef sort(self)

    @cython.locals(index=Py_ssize_t, sender=Py_ssize_t, numbers=dict, row="unsigned long long", ranks=array.array, where=array.array, who=array.array, firsts=array.array, order=array.array)
    cpdef order(self)

    @cython.locals(row=Py_ssize_t, rows=Py_ssize_t, used=Py_ssize_t, start=Py_ssize_t, last=Py_ssize_t,
                   place="unsigned long long", order=array.array, blocks=list, callers=_Numbers, releases=_Numbers,
                   tails=_Numbers)
    cpdef bint fill(self, Py_ssize_t most_rows, Py_ssize_t most_bytes) except -1

    cdef _fill_senders(self, Py_ssize_t rows)

    @cython.locals(size=Py_ssize_t, flags=int, caller_size=Py_ssize_t, release_size=Py_ssize_t, end=Py_ssize_t, caller="unsigned long long",
                   release="unsigned long long", tail="unsigned long long", length=Py_ssize_t, tail_at=Py_ssize_t,
                   tail_end=Py_ssize_t, msgid="long long", raw=bytes, text=bytes, line=bytes, text_at=Py_ssize_t,
                   ts_usec="unsigned long long")
    cdef Py_ssize_t _put(self, Py_ssize_t row, bytes records, Py_ssize_t at, Py_ssize_t used) except -1

    cdef _keep(self, Py_ssize_t row, bytes raw)
    @cython.locals(text=bytes)
    cdef bytes _other(self, Py_ssize_t row, int flags, bytes raw)

cpdef bytes legacy_line(object prefix, object ts_usec, object caller, bytes text)
