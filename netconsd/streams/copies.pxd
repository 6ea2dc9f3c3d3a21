# CPU per message in take: 0.1 us for one host, 0.4 us for 1,000 that alternate; in plain Python 1 to 4 us.
cimport cython

from netconsd.protocol cimport octets
from netconsd.protocol.message cimport ExtendedMessage, Message, Source, without_scope
from netconsd.protocol.reorder cimport ReorderBuffer
from netconsd.protocol.seen cimport ABSENT, WINDOW, Seen

cdef double _NEVER
cdef unsigned long long _SEQ_LIMIT, _ZERO_STAMP
cdef int _INCOMPLETE
cdef Py_ssize_t BEHIND_MESSAGES
cdef double BEHIND_SECONDS, NEAR_SECONDS
cdef Py_ssize_t _HOST_BYTES, _HEARING_BYTES, _RUN_BYTES, _SLOT_BYTES, _LINE_BYTES

@cython.locals(raw=bytes, end=Py_ssize_t)
cpdef unsigned long long stamp_of(ExtendedMessage message) except? 0

cdef class Hearing:
    cdef public object heard
    cdef public int bit
    cdef public Run run, first_run
    cdef public unsigned long long passed, first_seq
    cdef public Py_ssize_t behind
    cdef public double away_since, behind_since, heard_at, lines_since

cdef class Run:
    cdef public Host host
    cdef public unsigned long long number, top, decided, mark
    cdef public Seen seen
    cdef public bint begun, boot, new, reset
    cdef public list hearings
    cdef public ReorderBuffer held
    cdef public double deadline, first_received, last_received, boot_time

cdef class Line:
    cdef public tuple key
    cdef public double received_at, now
    cdef public int had

cdef class Host:
    cdef public bytes key
    cdef public double heard_at
    cdef public list runs
    cdef public dict hearings, bits, lines
    cdef public object line_order
    cdef public Py_ssize_t cost
    cdef public bint pending

cdef class Copies:
    cdef double _hold
    cdef Py_ssize_t _memory, _cost, _held, _held_bytes, _held_limit
    cdef dict _hosts, _heard, _missed
    cdef unsigned long long _runs
    cdef long long _handed_on, _forgotten
    cdef list _holding
    cdef object _undecided

    @cython.locals(source=Source, host=Host, hearing=Hearing, message=Message)
    cpdef list take(self, bytes receiver, list messages, double now)
    @cython.locals(run=Run)
    cpdef double deadline(self) except? -1
    @cython.locals(address=bytes, name=bytes, host=Host, hearing=Hearing)
    cdef tuple _hearing(self, object heard, bytes key, double now, list out)
    @cython.locals(run=Run)
    cdef _remove(self, Host host, list out)
    @cython.locals(hearing=Hearing, run=Run)
    cdef _forget_hearing(self, Host host, bytes name)

    @cython.locals(seq="unsigned long long", stamp="unsigned long long", run=Run, other=Hearing, late=bint)
    cdef _take_record(self, Host host, Hearing hearing, ExtendedMessage message, double now, list out)
    @cython.locals(own=Run, run=Run, index=Py_ssize_t)
    cdef Run _found(self, Host host, Hearing hearing, ExtendedMessage message, unsigned long long stamp)
    @cython.locals(seen=Seen, place=Py_ssize_t)
    cdef bint _is_copy(self, Run run, Hearing hearing, ExtendedMessage message, unsigned long long stamp) except -1
    @cython.locals(seq="unsigned long long", seen=Seen, place=Py_ssize_t, completes=bint, held=ExtendedMessage,
                   more=Py_ssize_t)
    cdef _second(self, Hearing hearing, Run run, ExtendedMessage message, double now, list out)
    @cython.locals(own=Run, run=Run, index=Py_ssize_t)
    cdef Run _run_of(self, Host host, Hearing hearing, ExtendedMessage message, double now, list out)
    @cython.locals(seq="unsigned long long", top="unsigned long long", boot_time=double)
    cdef bint _fits(self, Run run, ExtendedMessage message) except -1
    @cython.locals(run=Run)
    cdef Run _begin(self, Host host, Run before, ExtendedMessage message, double now, list out)
    @cython.locals(hearing=Hearing)
    cdef _remove_run(self, Host host, Run run, list out)
    cdef _charge(self, Host host, Py_ssize_t cost)
    @cython.locals(seq="unsigned long long", seen=Seen, boot_time=double, size=Py_ssize_t, had=int)
    cdef _put(self, Run run, Hearing hearing, ExtendedMessage message, unsigned long long stamp)
    @cython.locals(before=Run, each=Hearing, index=Py_ssize_t)
    cdef _join(self, Hearing hearing, Run run, unsigned long long seq, double now, list out)
    cdef _pass(self, Hearing hearing, Run run, unsigned long long seq, double now)
    @cython.locals(current=Run)
    cdef bint _has_passed(self, Hearing hearing, Run run, unsigned long long seq) except -1

    cdef bint _follows(self, Run run, ExtendedMessage message) except -1
    @cython.locals(other=Hearing)
    cdef bint _waits(self, Run run, ExtendedMessage message, double now) except -1
    @cython.locals(seq="unsigned long long", first=bint, late=bint, gap="unsigned long long", most="long long")
    cdef _hand_on(self, Run run, ExtendedMessage message, list out)
    @cython.locals(seq="unsigned long long", first="unsigned long long", number="unsigned long long",
                   found="long long")
    cdef long long _filled(self, Run run, ExtendedMessage message) except -1
    @cython.locals(held=ReorderBuffer, before=Py_ssize_t)
    cdef _keep(self, Run run, ExtendedMessage message, double now, list out)
    @cython.locals(run=Run, deadline=double)
    cdef Run _longest_held(self)
    @cython.locals(held=ReorderBuffer, message=ExtendedMessage, before=Py_ssize_t)
    cdef _pop(self, Run run, list out)
    @cython.locals(message=ExtendedMessage, late=bint)
    cdef _release(self, Run run, double now, list out)
    cdef _drain(self, Run run, list out)
    @cython.locals(run=Run, held=ReorderBuffer, deadline=double)
    cdef _expire(self, double now, list out)

    cdef _await_decision(self, Host host, double now)
    @cython.locals(hearing=Hearing, run=Run, more=bint, name=bytes)
    cdef _decide_host(self, Host host, double now)
    @cython.locals(
        seen=Seen, seq="unsigned long long", end_here="unsigned long long", place=Py_ssize_t, hearing=Hearing
    )
    cdef _decide(self, Run run, unsigned long long end)
    @cython.locals(key=tuple, same=list, line=Line)
    cdef _take_line(self, Host host, Hearing hearing, Message message, double now, list out)
    @cython.locals(line=Line, same=list, had=int, hearing=Hearing)
    cdef _remove_line(self, Host host)
