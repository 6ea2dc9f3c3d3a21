# CPU per datagram in SourceTable.feed, records in order: 0.12 us compiled, 4.0 us with all hot files in plain Python.
cimport cython

from netconsd.protocol cimport octets
from netconsd.protocol.reassembly cimport Reassembly, new_reassembly
from netconsd.protocol.counters cimport WorkerCounters
from netconsd.protocol.legacy cimport LineBuffer, split
from netconsd.protocol.message cimport ExtendedMessage, LegacyMessage, Source
from netconsd.protocol.rare_counters cimport RareCounters
from netconsd.protocol.reorder cimport ReorderBuffer
from netconsd.protocol.window cimport Window
from netconsd.protocol.decode cimport Fragment, decode, read

cdef double NEVER, FRAGMENT_SECONDS, RELEASES
cdef unsigned long long _U64, ABSENT, WINDOW, REBOOT_USEC, NEAR_ZERO_USEC, _MISSING_LIMIT, _ZERO_STAMP, _ZERO_HASH_MASK
cdef double SILENCE_SECONDS
cdef long long _MSGID_MASK, MESSAGES_PER_GAP, GAP_EVIDENCE, GAP_MEMORY, _CREDIT_FLOOR
cdef int _NEWLINE, _NEXT, _AHEAD, _DUPLICATE, _LATE, _RESET, _BOOT, _SUSPECT, _REPLAYED
cdef int _SPACE, _DOT, _ZERO, _NINE, _LESS, _GREATER, _BRACKET, _END_BRACKET

@cython.final
cdef class Stream(Window):
    # Of a record in order, the first three lines of the processor's cache are used, and little of the fourth.
    cdef readonly Source source
    cdef public double last_seen
    cdef public unsigned int number
    cdef readonly bint numbered
    cdef readonly double deadline
    cdef public double scheduled_at
    cdef public long long datagrams, bytes
    cdef readonly long long messages
    cdef WorkerCounters _counters
    cdef double _reorder_time
    cdef LineBuffer _line
    cdef readonly list reassemblies
    cdef readonly object suspects
    cdef readonly ReorderBuffer held
    cdef unsigned long long _last_ts_usec
    cdef long long _last_msgid
    cdef double _heard
    cdef unsigned long long _first_ts_usec
    cdef unsigned long long _first_seq
    cdef public double theoretical_arrival
    cdef readonly RareCounters rare_counters
    cdef readonly long long resets
    cdef public list neighbours
    # At most 6 MB: what the bounds of one sender allow to be held. With three bytes it shares a word.
    cdef readonly unsigned int cost
    cdef unsigned char _legacy_datagrams
    cdef unsigned char _framing
    cdef unsigned char _parts

    cdef _begin(self, Source source, WorkerCounters counters, double reorder_time, bint legacy_datagrams, int framing)
    @cython.locals(counters=WorkerCounters, message=ExtendedMessage)
    cpdef feed(self, bytes datagram, double received_at, double now, list out)
    @cython.locals(reassembly=Reassembly)
    cpdef expire(self, double now, list out)
    @cython.locals(reassemblies=list, reassembly=Reassembly, held=ReorderBuffer)
    cpdef flush(self, list out)
    cdef _replay(self)
    cpdef RareCounters rare(self)

    @cython.locals(line=LineBuffer)
    cdef _read_text(self, bytes datagram, double received_at, double now, list out)
    @cython.locals(line=LineBuffer)
    cdef _finish_line(self, list out)
    @cython.locals(line=LegacyMessage)
    cdef _deliver_lines(self, list lines, list out)
    @cython.locals(ts_usec="long long", estimate=double)
    cdef _note_line(self, LegacyMessage line)

    cdef _read_records(self, bytes datagram, unsigned long long seq, double received_at, double now, list out)
    @cython.locals(line=LineBuffer)
    cdef bint _continue_record(self, bytes datagram, bint has_header, double received_at, double now, list out) except -1
    cdef Py_ssize_t _place_records(self, bytes text, list starts, double received_at, double now, list out) except -1
    @cython.locals(record=ExtendedMessage)
    cdef bint _place_record(self, bytes text, double received_at, double deadline, list out) except -1
    @cython.locals(end=Py_ssize_t)
    cdef _count_stray_lines(self, ExtendedMessage message)
    @cython.locals(line=LineBuffer, record=ExtendedMessage)
    cdef bint _hold_unfinished(
        self, bytes text, bint is_one_of_several, double received_at, double now
    ) except -1

    @cython.locals(piece=ExtendedMessage, reassembly=Reassembly)
    cdef _add_fragment(self, Fragment fragment, double now, list out)
    @cython.locals(reassembly=Reassembly)
    cdef Reassembly _find_reassembly(self, Fragment fragment)
    @cython.locals(oldest=Reassembly)
    cdef Reassembly _start_reassembly(self, Fragment fragment, double deadline, list out)
    @cython.locals(reassemblies=list)
    cdef _finish_reassembly(self, Reassembly reassembly, double deadline, list out)
    @cython.locals(message=ExtendedMessage, rare=RareCounters)
    cdef _place_reassembled(self, Reassembly reassembly, double deadline, list out)
    @cython.locals(reassemblies=list, reassembly=Reassembly)
    cdef _drop_superseded(self, unsigned long long seq, unsigned long long ts_usec)

    cdef bint _place(self, ExtendedMessage message, double deadline, list out) except -1
    cdef bint _apply(self, int rule, ExtendedMessage message, double deadline, list out) except -1
    cdef int _classify(self, ExtendedMessage message)
    @cython.locals(seq="unsigned long long", held=ReorderBuffer, same_seq=ExtendedMessage)
    cdef int _classify_ahead(self, ExtendedMessage message)
    @cython.locals(other=Stream)
    cdef int _classify_first(self, ExtendedMessage message)
    @cython.locals(
        seq="unsigned long long", ts_usec="unsigned long long", known="unsigned long long", stamp="unsigned long long",
        repeated=bint
    )
    cdef int _classify_back(self, ExtendedMessage message)
    @cython.locals(seq="unsigned long long")
    cdef int _classify_same_boot(self, ExtendedMessage message, unsigned long long known)
    @cython.locals(rare=RareCounters, gap_seq="unsigned long long")
    cdef bint _is_delayed(self, ExtendedMessage message) except -1
    @cython.locals(ts_usec="unsigned long long", heard=double)
    cdef bint _may_be_boot(self, ExtendedMessage message) except -1
    @cython.locals(held=ExtendedMessage, remembered="unsigned long long")
    cdef unsigned long long _known(self, unsigned long long seq)
    @cython.locals(held=ExtendedMessage)
    cdef bint _suspect(self, ExtendedMessage message, list out) except -1
    @cython.locals(known="unsigned long long", stamp="unsigned long long")
    cdef _weigh(self, ExtendedMessage message, list out)
    @cython.locals(message=ExtendedMessage, rule=int, first=bint)
    cdef _settle(self, bint is_boot, list out)
    @cython.locals(reassemblies=list, kept=list, reassembly=Reassembly)
    cdef list _reassemblies_since(self, double deadline)
    cdef _boot(self, ExtendedMessage message, list out)
    @cython.locals(rare=RareCounters)
    cdef _count_boot(self)
    @cython.locals(begins=bint, repeated=bint, rare=RareCounters)
    cdef bint _deliver_replayed(self, ExtendedMessage message, list out) except -1
    @cython.locals(seq="unsigned long long", stamp="unsigned long long", result=tuple, rare=RareCounters)
    cdef tuple _add_behind(self, ExtendedMessage message)
    @cython.locals(other=Stream, best=Stream, nearest="unsigned long long", distance="unsigned long long")
    cdef Stream _find_continued(self, ExtendedMessage message)
    @cython.locals(seq="unsigned long long", ts_usec="unsigned long long")
    cdef unsigned long long _distance(self, ExtendedMessage message, double now)
    cdef _continue(self, Stream other)
    @cython.locals(other=Stream)
    cdef _mark_shared(self)
    @cython.locals(rare=RareCounters)
    cdef _drop_duplicate(self)
    @cython.locals(same_seq=ExtendedMessage)
    cdef bint _is_received(self, unsigned long long seq, unsigned long long ts_usec) except -1
    cdef bint _is_next_msgid(self, ExtendedMessage message) except -1
    @cython.locals(rare=RareCounters)
    cdef _reset(self, ExtendedMessage message, list out)
    @cython.locals(lost="long long", rare=RareCounters)
    cdef _count_lost(self, ExtendedMessage message)
    @cython.locals(credit="long long", rare=RareCounters)
    cdef _judge_gap(self, ExtendedMessage message)
    cdef _deliver(self, ExtendedMessage message, list out)
    @cython.locals(is_far=bint, repeated=bint)
    cdef bint _deliver_late(self, ExtendedMessage message, list out) except -1
    @cython.locals(rare=RareCounters)
    cdef _count_late(self)
    @cython.locals(held=ReorderBuffer)
    cdef _hold(self, ExtendedMessage message, double deadline, list out)
    @cython.locals(message=ExtendedMessage, held=ReorderBuffer)
    cdef _release_next(self, list out)
    @cython.locals(held=ReorderBuffer)
    cdef _release(self, unsigned long long seq, list out)
    cdef _append(self, ExtendedMessage message, list out)
    @cython.locals(stamp="unsigned long long")
    cdef unsigned long long _remember(self, ExtendedMessage message)
    @cython.locals(deadline=double, cost=Py_ssize_t, parts=int, held=ReorderBuffer, reassembly=Reassembly)
    cdef _update_deadline(self)

@cython.locals(stream=Stream)
cpdef Stream new_stream(
    Source source, WorkerCounters counters, double reorder_time, bint legacy_datagrams, int framing
)
cdef unsigned long long _bounded_sum(unsigned long long count, unsigned long long more) noexcept
cdef unsigned long long _to_stamp(ExtendedMessage message)
cdef unsigned long long _text_stamp(bytes body)
@cython.locals(line_c="const char *", length=Py_ssize_t, index=Py_ssize_t, number="long long", digits=int)
cdef long long _line_ts_usec(bytes line)
