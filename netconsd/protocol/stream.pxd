cimport cython

from netconsd.protocol.reassembly cimport Reassembly
from netconsd.protocol.counters cimport WorkerCounters
from netconsd.protocol.legacy cimport LineBuffer, split
from netconsd.protocol.message cimport ExtendedMessage, Source
from netconsd.protocol.rare_counters cimport RareCounters
from netconsd.protocol.reorder cimport ReorderBuffer
from netconsd.protocol.window cimport Window
from netconsd.protocol.decode cimport Fragment, decode

cdef double _NEVER, _PIECES_SECONDS, _EARLY
cdef unsigned long long _ABSENT, _REBOOT_USEC, _MISSING_LIMIT
cdef int _WINDOW
cdef long long _MSGID_MASK

cdef class Stream:
    cdef readonly Source source
    cdef public double last_seen
    cdef readonly double deadline
    cdef readonly Py_ssize_t cost
    cdef public double scheduled_at
    cdef public double even_at
    cdef public long long datagrams, octets
    cdef readonly long long messages, legacy, lines, lost
    cdef readonly unsigned long long missing
    cdef readonly RareCounters rare_counters
    cdef bint _started
    cdef bint _legacy_datagrams
    cdef WorkerCounters _counters
    cdef double _hold
    cdef unsigned long long _last_seq
    cdef unsigned long long _last_ts
    cdef unsigned long long _last_stamp
    cdef long long _last_msgid
    cdef Window _window
    cdef ReorderBuffer _waiting
    cdef dict _reassemblies
    cdef LineBuffer _line

    @cython.locals(counters=WorkerCounters)
    cpdef feed(self, bytes datagram, double received_at, double now, list out)
    @cython.locals(reassembly=Reassembly)
    cpdef expire(self, double now, list out)
    @cython.locals(reassemblies=dict, reassembly=Reassembly, waiting=ReorderBuffer)
    cpdef flush(self, list out)

    @cython.locals(odd=RareCounters)
    cpdef count(self, str name)
    cpdef RareCounters rare(self)
    cpdef acknowledgement(self)
    cdef list _given_up(self)
    # Python's numbers: one more than the highest of 64 bits is needed, too.
    @cython.locals(last=object, highest=object, missing=list, here=list)
    cdef list _missing_ahead(self)

    cdef _read_text(self, bytes datagram, double received_at, double now, list out)
    @cython.locals(line=LineBuffer)
    cdef _end_line(self, list out)
    cdef _deliver_lines(self, list lines, list out)

    @cython.locals(piece=ExtendedMessage, reassembly=Reassembly)
    cdef _add_fragment(self, Fragment fragment, double now, list out)
    cdef Reassembly _begin(self, tuple key, Fragment first, double deadline, list out)
    @cython.locals(reassembly=Reassembly)
    cdef _finish(self, tuple key, double deadline, list out)
    @cython.locals(message=ExtendedMessage)
    cdef _place_reassembled(self, Reassembly reassembly, double deadline, list out)
    cdef _supersede(self, unsigned long long seq, unsigned long long ts_usec)

    @cython.locals(held=ExtendedMessage)
    cdef bint _is_there(self, unsigned long long seq, unsigned long long ts_usec)
    @cython.locals(
        seq="unsigned long long",
        ts_usec="unsigned long long",
        stamp="unsigned long long",
        waiting=ReorderBuffer,
        held=ExtendedMessage,
    )
    cdef bint _place(self, ExtendedMessage message, double deadline, list out)
    cdef bint _is_before(self, unsigned long long ts_usec, unsigned long long other)
    @cython.locals(ts_usec="unsigned long long")
    cdef bint _may_be_late(self, ExtendedMessage message)
    cdef bint _is_next_msgid(self, ExtendedMessage message)
    cdef unsigned long long _stamp(self, unsigned long long seq)
    cdef _reset(self, ExtendedMessage message, list out)
    cdef _begin_anew(self, ExtendedMessage message, list out)
    @cython.locals(lost="long long")
    cdef _deliver(self, ExtendedMessage message, list out)
    cdef _remember(self, ExtendedMessage message)
    @cython.locals(stamp="unsigned long long")
    cdef _deliver_late(self, ExtendedMessage message, list out)
    @cython.locals(message=ExtendedMessage)
    cdef _deliver_followers(self, ReorderBuffer waiting, list out)
    @cython.locals(waiting=ReorderBuffer)
    cdef _give_up(self, unsigned long long seq, list out)
    cdef _hand_out(self, ExtendedMessage message, list out)
    @cython.locals(deadline=double, cost=Py_ssize_t, waiting=ReorderBuffer, reassembly=Reassembly)
    cdef _settle(self)

cdef unsigned long long _stamp_for(unsigned long long ts_usec)
