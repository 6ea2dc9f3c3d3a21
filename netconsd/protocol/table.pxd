cimport cython

from netconsd.protocol.counters cimport WorkerCounters
from netconsd.protocol.message cimport source_of
from netconsd.protocol.stream cimport Stream

cdef double _NEVER
cdef Py_ssize_t _OUT_LIMIT, _OUT_OCTETS_LIMIT
cdef double _BURST_SECONDS

cdef class SourceTable:
    cdef double _age
    cdef double _gc_interval
    cdef double _interval
    cdef double _hold
    cdef double _next_gc
    cdef Py_ssize_t _cost
    cdef Py_ssize_t _limit
    cdef Py_ssize_t _waiting_limit
    cdef Py_ssize_t _ticket
    cdef bint _legacy_datagrams
    cdef object _streams
    cdef list _schedule
    cdef WorkerCounters _counters

    @cython.locals(
        stream=Stream, datagram=bytes, cost=Py_ssize_t, index=Py_ssize_t, end=Py_ssize_t, octets=Py_ssize_t
    )
    cpdef Py_ssize_t feed_part(
        self, list senders, list datagrams, double received_at, double now, Py_ssize_t start, list out
    ) except -1
    @cython.locals(stream=Stream)
    cpdef acknowledgement(self, bytes key)
    cpdef list advance(self, double now)
    cpdef double next_deadline(self)
    @cython.locals(stream=Stream)
    cpdef list flush(self)
    @cython.locals(stream=Stream)
    cdef Stream _admit(self, bytes key, double now, list out)
    @cython.locals(even_at=double)
    cdef bint _is_too_much(self, Stream stream, double now)
    cdef _drop(self, Stream stream, bytes datagram, double now)
    @cython.locals(stream=Stream)
    cdef _forget_first(self, list out)
    @cython.locals(other=Stream)
    cdef _put_on_schedule(self, Stream stream)
    cdef _expire(self, double now, list out)
    @cython.locals(stream=Stream, deadline=double)
    cdef _serve_first(self, double now, list out)
    @cython.locals(stream=Stream, deadline=double)
    cdef _relieve(self, list out)
    @cython.locals(stream=Stream)
    cdef _collect(self, double now, list out)
