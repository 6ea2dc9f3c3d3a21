"""Several records in one datagram, and records that datagrams cut (docs/wire section 3)."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from netconsd.logger.lines import log_lines
from netconsd.protocol.body import TASKNAME_LIMIT
from netconsd.protocol.counters import WorkerCounters, inconsistencies, total
from netconsd.protocol.legacy import AUTO, DATAGRAM, LINE, LINE_LIMIT
from netconsd.protocol.message import ExtendedMessage, LegacyDatagram, Message
from netconsd.protocol.records import LOOKBACK, SEQ_STEP_LIMIT, record_starts
from netconsd.protocol.stream import FRAGMENT_SECONDS, NEVER, Stream
from netconsd.receive.lanes import Workers
from netconsd.rendering import netconsd_line
from netconsd.settings import Settings
from netconsd.testing import extended, source

SENDER = source()
NOTICE = b"** replaying previous printk message **\n"


class Fed:
    """A stream that is fed datagrams a millisecond apart, and its messages."""

    def __init__(self, *datagrams: bytes, framing: int = AUTO, legacy_datagrams: bool = False) -> None:
        self.counters = WorkerCounters()
        self.stream = Stream(SENDER, self.counters, 0.2, legacy_datagrams, framing)
        self.out: list[Message] = []
        self.now = 1000.0
        for datagram in datagrams:
            self.feed(datagram)

    def feed(self, datagram: bytes) -> list[Message]:
        """Feed a datagram; return the messages delivered for it."""
        self.now += 0.001
        before = len(self.out)
        if self.stream.deadline <= self.now:
            self.stream.expire(self.now, self.out)
        self.stream.feed(datagram, self.now, self.now, self.out)
        return self.out[before:]

    def end(self) -> list[Message]:
        """Flush, check the counters, and return all messages."""
        self.stream.flush(self.out)
        counted = total([self.counters])
        assert inconsistencies(counted) == []
        assert counted["messages"] == sum(not isinstance(message, LegacyDatagram) for message in self.out)
        assert self.stream.deadline == NEVER
        return self.out


def shown(messages: list[Message]) -> list[tuple[int | None, str]]:
    """Seq (None for a legacy line) and text of each message."""
    return [(message.seq if isinstance(message, ExtendedMessage) else None, message.text) for message in messages]


def numbered(seq: int, **fields: Any) -> bytes:
    """A record, with a text that has its seq."""
    return extended(f"record {seq}", seq=seq, ts_usec=seq, **fields)


DEVICE = {"SUBSYSTEM": "usb", "DEVICE": "c189:1"}


def test_each_record_of_a_datagram_is_a_message() -> None:
    """Records in one datagram have their own level, time, dictionary, userdata, sysdata and bytes."""
    first = extended("one", seq=7, ts_usec=10, level=6, dictionary=DEVICE)
    second = extended("two", seq=8, ts_usec=20, level=3, userdata={"rack": "r1\nr2"}, cpu=3, taskname="a", msgid=9)
    third = extended("three", seq=9, ts_usec=30, level=4, facility=3, caller="T12", release="6.1", msgid=10)
    messages = Fed(first + second + third).end()
    alone = [message for each in (first, second, third) for message in Fed(each).end()]
    assert [message.raw for message in messages] == [message.raw for message in alone]
    for ours, theirs in zip(messages, alone, strict=True):
        assert isinstance(ours, ExtendedMessage) and isinstance(theirs, ExtendedMessage)
        for name in (
            *("seq", "ts_usec", "level", "facility", "caller", "release", "dictionary", "userdata", "cpu"),
            *("taskname", "msgid", "text"),
        ):
            assert getattr(ours, name) == getattr(theirs, name), name
        assert (ours.missing, ours.lost or 0) == (0, 0)


def test_counters_of_a_datagram_with_several_records() -> None:
    """A datagram is counted once, its records as messages; records that were received before are counted."""
    fed = Fed(
        numbered(1) + numbered(2) + numbered(3), numbered(1) + numbered(2) + numbered(3), numbered(3) + numbered(4)
    )
    fed.end()
    counters = fed.counters
    assert (counters.datagrams, counters.whole, counters.records, counters.messages) == (3, 3, 4, 4)
    assert (counters.dropped_duplicate, counters.dropped_records) == (0, 4)


def test_a_datagram_of_repeats_is_a_duplicate() -> None:
    """A datagram without a new record is dropped as a duplicate, if none of its records is held."""
    fed = Fed(numbered(1), numbered(2), numbered(1) + numbered(2), framing=DATAGRAM)
    fed.end()
    assert (fed.counters.whole, fed.counters.dropped_duplicate, fed.counters.dropped_records) == (2, 1, 0)


def test_repeats_behind_other_content_are_counted() -> None:
    """Records that were received before are counted if the datagram continues a record, or begins with text."""
    fed = Fed(numbered(1) + numbered(2), b" a=b\n" + numbered(3), framing=LINE)
    fed.end()
    assert (fed.counters.records, fed.counters.continued, fed.counters.dropped_records) == (3, 1, 0)
    fed.feed(numbered(1) + b"6,2,2,-;record")
    fed.feed(b" 2\n" + numbered(3))
    fed.end()
    assert (fed.counters.whole, fed.counters.continued, fed.counters.dropped_records) == (2, 2, 3)


def test_a_kernels_datagram_is_delivered_at_once() -> None:
    """A record that ends with a newline or a NUL is delivered at once if it is alone in its datagram."""
    fed = Fed()
    for seq, datagram in enumerate(
        [
            numbered(0),
            numbered(1, dictionary=DEVICE, userdata={"a": "1"}, cpu=1, taskname="a\nb", sysrelease="7", msgid=1),
            numbered(2, userdata={"a": "1\n2"}),
            numbered(3).removesuffix(b"\n") + b"\0",
            numbered(4) + b"stray\n",
        ]
    ):
        assert len(fed.feed(datagram)) == 1, seq
        assert fed.stream.deadline == NEVER


# What begins a record.


@pytest.mark.parametrize(
    ("line", "begins"),
    [
        (b"6,12,5,-;x", True),
        (b"6,12,5,-;", True),
        (b"7.0.0,6,12,5,c,caller=T1;x", True),
        (b"6,11,5,-;x", True),
        (b"6,%d,5,-;x" % (10 + SEQ_STEP_LIMIT), True),
        (b"6,%d,5,-;x" % (11 + SEQ_STEP_LIMIT), False),
        (b"6,10,5,-;x", False),
        (b"6,9,5,-;x", False),
        (b"6,12,5,-", False),
        (b"6,12,5;x", False),
        (b" 6,12,5,-;x", False),
        (b"2048,12,5,-;x", False),
        (b"6,12,5,-,ncfrag=0/9;x", False),
        (b"6,12,5,-,ncfrag=x;x", False),
        (b"text; more", False),
    ],
)
def test_a_line_begins_a_record(line: bytes, begins: bool) -> None:
    """A line begins a record if it has a full header, without ncfrag, whose seq follows."""
    text = b"6,10,1,-;text\n" + line + b"\n"
    assert [at for at, _ in record_starts(text, 10)] == ([14] if begins else [])
    assert len(Fed(text).end()) == 1 + begins


def test_a_notice_belongs_to_the_record_after_it() -> None:
    """The notice that a message is a replay can stand between two records."""
    messages = Fed(NOTICE + numbered(1) + NOTICE + numbered(2) + numbered(3)).end()
    assert shown(messages) == [(1, "record 1"), (2, "record 2"), (3, "record 3")]
    assert [isinstance(message, ExtendedMessage) and message.replayed for message in messages] == [True, True, False]


@pytest.mark.parametrize(
    "name", ["a\n6,99,1,-;x", "\n6,99,1,-;", "\n6,99,1,-;x\n", "\n6,9,1,-;\nb", "6,99,1,-;x", "\n\n6,99,1,-;x"]
)
@pytest.mark.parametrize(
    "others", [{}, {"cpu": 1}, {"sysrelease": "7.2"}, {"msgid": 5}, {"sysrelease": "7", "msgid": 5}]
)
def test_a_task_name_begins_no_record(name: str, others: dict[str, Any]) -> None:
    """A task name with a newline and a header forges no record, in a record alone or in one of several."""
    assert len(name) <= TASKNAME_LIMIT
    alone = numbered(8, taskname=name, **others)
    several = alone + numbered(10, taskname=name, **others) + numbered(11, taskname=name, **others)
    for datagram, seqs in ((alone, [8]), (several, [8, 10, 11])):
        messages = Fed(datagram).end()
        assert [seq for seq, _ in shown(messages)] == seqs
        assert all(isinstance(message, ExtendedMessage) and message.taskname == name for message in messages)


@pytest.mark.parametrize("name", ["a\n6,99,1,-;x", "6,99,1,-;", "\n6,99,1,-;\n"])
def test_a_cut_before_a_forged_header(name: str) -> None:
    """A datagram that begins within the task name of the unfinished record begins no record."""
    text = numbered(1) + numbered(2, cpu=1, taskname=name, msgid=4)
    place = text.index(b"6,99,1")
    (_, message) = Fed(text[:place], text[place:]).end()
    assert isinstance(message, ExtendedMessage)
    assert (message.seq, message.taskname, message.msgid) == (2, name, 4)


# Lines that are neither record nor key=value.


@pytest.mark.parametrize(
    ("lines", "text", "count"),
    [
        (b"stray\n", "record 1\nstray", 1),
        (b"one\ntwo\r\n", "record 1\none\ntwo", 2),
        (b" no equals sign\n a=1\n", "record 1\n no equals sign", 1),
        (b" SUBSYSTEM=usb\n DEVICE=n8\nstray\xff\n a=1\nvalue\n msgid=4\n", "record 1\nstray\\xff", 1),
        (b"6,1,1,-;again\n", "record 1\n6,1,1,-;again", 1),
        (b"\n\r\n  \nstray", "record 1\nstray", 1),
        (b"stray\0", "record 1\nstray", 1),
        (b"\n\n", "record 1", 0),
        (b" a=1\nvalue\n", "record 1", 0),
        (b" taskname=a\nb\n msgid=4\n", "record 1", 0),
    ],
)
def test_stray_lines_are_in_the_text(lines: bytes, text: str, count: int) -> None:
    """A line before the first value that is not key=value is a line of the text, unless it is blank, and is counted;
    after a value, it is a part of the value, because configfs accepts newlines in it."""
    fed = Fed(numbered(1) + lines)
    assert shown(fed.end()) == [(1, text)]
    assert fed.counters.stray_lines == count


def test_stray_lines_of_a_message_in_fragments_are_counted() -> None:
    """The lines of a reassembled message are counted as well."""
    fed = Fed(b"6,1,1,-,ncfrag=0/10;text\n", b"6,1,1,-,ncfrag=5/10;stray")
    assert shown(fed.end()) == [(1, "text\nstray")]
    assert fed.counters.stray_lines == 1


def test_a_carriage_return_before_the_end_of_the_text() -> None:
    """One raw carriage return before the newline, or before a NUL, is in ``raw`` and not in ``text``."""
    for body, text in [(b"a\r\n", "a"), (b"a\r\r\n b=1\n", "a\r"), (b"a\r\0", "a"), (b"a\rb\n", "a\rb"), (b"\r\n", "")]:
        (message,) = Fed(b"6,1,1,-;" + body).end()
        assert (message.raw, message.text) == (body, text)


# Records that datagrams cut.

STREAM = b"".join(numbered(seq, dictionary=DEVICE if seq % 2 else {}) for seq in range(12))


@pytest.mark.parametrize("size", [40, 64, 100, 256])
@pytest.mark.parametrize("framing", [AUTO, LINE])
def test_a_stream_that_is_cut_anywhere(size: int, framing: int) -> None:
    """Datagrams that continue each other give the records whose bytes they have."""
    fed = Fed(*(STREAM[at : at + size] for at in range(0, len(STREAM), size)), framing=framing)
    assert shown(fed.end()) == [(seq, f"record {seq}") for seq in range(12)]
    assert fed.counters.whole + fed.counters.continued == fed.counters.datagrams
    assert [message.raw for message in fed.out] == [
        numbered(seq, dictionary=DEVICE if seq % 2 else {}).partition(b";")[2] for seq in range(12)
    ]


def test_every_place_of_a_cut() -> None:
    """One cut, anywhere behind the first record, loses and glues nothing."""
    text = b"".join(extended(f"r{seq}", seq=seq, level=7, facility=1, dictionary=DEVICE) for seq in (98, 99, 100, 101))
    second = text.index(b"15,99")
    for place in range(second + 1, len(text)):
        fed = Fed(text[:place], text[place:])
        assert shown(fed.end()) == [(seq, f"r{seq}") for seq in (98, 99, 100, 101)], place
        assert all(isinstance(m, ExtendedMessage) and (m.level, m.dictionary) == (7, DEVICE) for m in fed.out), place


def test_the_backlog_of_a_boot_in_pieces_of_16_kib() -> None:
    """344 records in datagrams of 16 KiB are 344 messages."""
    text = b"".join(extended("x" * 120 + f" {seq}", seq=seq, ts_usec=seq, dictionary=DEVICE) for seq in range(344))
    fed = Fed(*(text[at : at + 16384] for at in range(0, len(text), 16384)))
    assert [seq for seq, _ in shown(fed.end())] == list(range(344))
    assert (fed.counters.missing, fed.counters.lines, fed.counters.stray_lines) == (0, 0, 0)


def test_a_cut_record_waits_for_its_rest_until_the_deadline() -> None:
    """An unfinished record is delivered after the time of an unfinished line, as it is."""
    fed = Fed(numbered(1) + numbered(2)[:-4])
    assert shown(fed.out) == [(1, "record 1")]
    assert fed.stream.deadline == pytest.approx(fed.now + max(0.2, FRAGMENT_SECONDS))
    assert fed.stream.cost > 0
    fed.stream.expire(fed.stream.deadline, fed.out)
    assert shown(fed.out)[1:] == [(2, "recor")]
    assert (fed.stream.deadline, fed.stream.cost) == (NEVER, 0)
    # The rest is too late, and visible.
    fed.feed(b"d 2\n")
    assert shown(fed.end())[2:] == [(None, "d 2")]


def test_a_deadline_that_is_over_is_kept_without_a_call_of_expire() -> None:
    """The next datagram does not continue a line or a record whose time is over."""
    for first, whole in ((b"hello", [(None, "hello")]), (b"6,1,1,-;hello", [(1, "hello")])):
        fed = Fed(first)
        fed.stream.feed(b"world", 5.0, fed.now + 5.0, fed.out)
        assert shown(fed.end()) == [*whole, (None, "world")]


def test_a_held_record_behind_a_gap_is_not_delayed_twice() -> None:
    """A record that was held for its rest is delivered at its deadline, although a seq before it is missing."""
    fed = Fed(numbered(1), numbered(5) + numbered(7))
    assert shown(fed.out) == [(1, "record 1")]
    while fed.stream.deadline != NEVER:
        deadline = fed.stream.deadline
        assert deadline <= fed.now + 0.2 + 1e-6
        fed.stream.expire(deadline, fed.out)
    assert [seq for seq, _ in shown(fed.out)] == [1, 5, 7]


def test_a_missing_datagram_glues_nothing() -> None:
    """If the datagram after a cut is lost, the rest of another record is legacy text, and the records after it are
    messages."""
    pieces = [STREAM[at : at + 100] for at in range(0, len(STREAM), 100)]
    for lost in range(1, len(pieces) - 1):
        fed = Fed(*pieces[:lost], *pieces[lost + 1 :])
        messages = fed.end()
        for seq, text in shown(messages):
            if seq is not None:
                assert f"record {seq}".startswith(text.partition("\n")[0])
        received = b"".join(pieces[:lost] + pieces[lost + 1 :])
        for seq in range(12):
            # Every record that arrived in one piece is a message.
            if numbered(seq, dictionary=DEVICE if seq % 2 else {}) in received:
                assert (seq, f"record {seq}") in shown(messages)


def test_a_datagram_that_begins_in_a_record() -> None:
    """Lines before the first record are legacy text, and a module that takes legacy datagrams gets only these."""
    begun = b" of a lost record\n SUBSYSTEM=usb\n" + numbered(5) + numbered(6)
    fed = Fed(numbered(1), begun, legacy_datagrams=True)
    messages = fed.end()
    assert shown(messages) == [
        (1, "record 1"),
        (None, " of a lost record\n SUBSYSTEM=usb"),
        (None, " of a lost record"),
        (None, " SUBSYSTEM=usb"),
        (5, "record 5"),
        (6, "record 6"),
    ]
    assert isinstance(messages[1], LegacyDatagram)
    assert (fed.counters.legacy, fed.counters.lines, fed.counters.records) == (1, 2, 3)


def test_the_first_datagram_of_a_sender_can_begin_in_a_record() -> None:
    """A datagram larger than a kernel's that begins with text has records, even if the sender is unknown; a smaller one
    is legacy text, as a line of console text could be a header."""
    rest = b"rest of a record\n"
    large = rest + extended("x" * 1000, seq=900) + numbered(901)
    assert [seq for seq, _ in shown(Fed(large).end())] == [None, 900, 901]
    assert [seq for seq, _ in shown(Fed(rest + numbered(900)).end())] == [None, None]
    # After a reboot, whose first datagram was lost.
    assert [seq for seq, _ in shown(Fed(numbered(5000), large).end())] == [5000, None, 900, 901]
    assert [seq for seq, _ in shown(Fed(numbered(5000), rest + numbered(900)).end())] == [5000, None, None]


def test_legacy_text_ends_an_unfinished_record() -> None:
    """A record that ends with a newline is continued by dictionary, userdata and sysdata only; one without, by anything
    that begins neither a line nor a record."""
    several = numbered(1) + numbered(2)
    assert shown(Fed(several, b"text\n").end())[1:] == [(2, "record 2"), (None, "text")]
    assert shown(Fed(several, b"[    1.000000] text\n").end())[1:] == [(2, "record 2"), (None, "text")]
    cut = several.removesuffix(b"\n")
    assert shown(Fed(cut, b"<6>text\n").end())[1:] == [(2, "record 2"), (None, "text")]
    assert shown(Fed(cut, b"6,9,1,-,ncfrag=9/1;x\n").end())[1:] == [(2, "record 2"), (None, "6,9,1,-,ncfrag=9/1;x")]
    assert shown(Fed(cut, b" more\n").end())[1:] == [(2, "record 2 more")]
    assert shown(Fed(cut, numbered(3)).end())[1:] == [(2, "record 2"), (3, "record 3")]
    (_, continued) = Fed(several, b" DEVICE=n8\n").end()
    assert isinstance(continued, ExtendedMessage) and continued.dictionary == {"DEVICE": "n8"}


def test_after_a_large_datagram_a_record_goes_on_with_anything() -> None:
    """A cut by a full buffer can be followed by bytes that begin like a line."""
    large = numbered(1) + b"6,2,2,-;" + b"x" * 1000
    assert shown(Fed(large, b"{y}\n").end())[1] == (2, "x" * 1000 + "{y}")


def test_framing_by_datagram_holds_no_record() -> None:
    """With the framing ``datagram``, the records of a datagram are delivered at once."""
    fed = Fed(framing=DATAGRAM)
    assert shown(fed.feed(numbered(1) + b"6,2,2,-;cut")) == [(1, "record 1"), (2, "cut")]
    assert fed.stream.deadline == NEVER


@pytest.mark.parametrize(
    ("framing", "texts"), [("auto", ["ab", "{}"]), ("line", ["ab{}"]), ("datagram", ["a", "b", "{}"])]
)
def test_the_setting_reaches_the_streams(framing: str, texts: list[str]) -> None:
    """Workers pass the setting ``framing`` to the stream of each sender."""
    delivered: list[Message] = []
    no_reactor: Any = None
    workers = Workers(
        lambda worker, messages: delivered.extend(messages), Settings(workers=1, framing=framing), reactor=no_reactor
    )
    (lane,) = workers.lanes
    lane.put([SENDER.key] * 3, [b"a", b"b", b"{}"], 5.0, 1.0)
    lane._turn()
    delivered += lane._table.flush()
    assert [message.text for message in delivered] == texts


def test_stray_lines_and_carriage_returns_in_printed_lines() -> None:
    """Logs and the C daemon's format have the stray lines, and no carriage return before the end."""
    (message,) = Fed(b"6,2,2,-;text\r\nstray\n").end()
    assert log_lines([message]).endswith(b" text\\x0astray\n")
    assert netconsd_line(message).endswith(" text\\x0astray")
    (line,) = Fed(b"text\r\n").end()
    assert log_lines([line]).endswith(b" text\n")
    assert netconsd_line(line).endswith(": text")
    (plain,) = Fed(numbered(1), b"6,2,2,-;text\nstray\n").end()[1:]
    assert log_lines([plain]).endswith(b" text\\x0astray\n")


def test_a_held_record_is_bounded() -> None:
    """A record that never ends is delivered when it has LINE_LIMIT bytes; the rest is legacy text."""
    fed = Fed(b"6,1,1,-;", *[b"x" * 1000] * 70)
    assert fed.stream.cost < LINE_LIMIT + 1000
    messages = fed.end()
    assert messages[0].raw == b"x" * 66_000
    assert b"".join(message.raw for message in messages) == b"x" * 70_000


def test_a_long_line_is_no_header() -> None:
    """The beginning of a header that is further back than any header is text of the record."""
    fed = Fed(numbered(1) + b"6,2,2,-,k=" + b"v" * LOOKBACK, b";x\n")
    assert [seq for seq, _ in shown(fed.end())] == [1]


# Any records with any cuts.

_texts = st.text(st.characters(codec="utf-8", exclude_characters="<[{"), max_size=20)
_names = st.none() | st.sampled_from(["a", "a\n6,999,1,-;x", "\n6,999,1,-;", "6,999,1,-;", "\n999,", "\n\n", "é"])
_fields = st.fixed_dictionaries(
    {
        "text": _texts,
        "level": st.integers(0, 7),
        "facility": st.integers(0, 255),
        "dictionary": st.sampled_from([{}, DEVICE]),
        "taskname": _names,
        "sysrelease": st.sampled_from([None, "7.2"]),
        "msgid": st.sampled_from([None, 4]),
    }
)


_NEWLINES: dict[str, Any] = {
    "text": "0000", "level": 0, "facility": 13, "dictionary": DEVICE, "taskname": "\n999,", "sysrelease": "7.2",
    "msgid": 4,
}  # fmt: skip


def kinds(messages: list[Message]) -> list[tuple[int, int | None, bytes]]:
    """Seq, level and bytes of each message; -1 for a line."""
    return [
        (message.seq if isinstance(message, ExtendedMessage) else -1, message.level, message.raw)
        for message in messages
    ]


# Cut at the begin of the third record and after the newline in its task name.
@example([_NEWLINES] * 3, [93, 165, 186], AUTO)
@settings(max_examples=200)
@given(
    st.lists(_fields, min_size=2, max_size=6),
    st.lists(st.integers(0, 10**6), max_size=5),
    st.sampled_from([AUTO, LINE]),
)
def test_any_cuts_give_the_records_back(records: list[dict[str, Any]], places: list[int], framing: int) -> None:
    """Records joined and cut at random places are the same messages as alone; no task name begins a record, even if it
    is cut. The first cut is after a whole record, no datagram is shorter than a header, and none has one record alone
    without its last lines: it would look whole."""
    # With a shorter timestamp, a whole record would fit into a task name.
    alone = [extended(**fields, seq=seq, ts_usec=10**9 + seq) for seq, fields in enumerate(records, 100)]
    text = b"".join(alone)
    begins = set(accumulate(map(len, alone)))
    first = len(alone[0]) + 1
    ends = [first]
    for place in sorted(first + place % (len(text) - first) for place in places):
        looks_whole = ends[-1] in begins and place not in begins and text[place - 1 : place] == b"\n"
        if place >= ends[-1] + 32 and not looks_whole:
            ends.append(place)
    ends[-1] = len(text)
    fed = Fed(*(text[start:end] for start, end in zip([0, *ends], ends, strict=False)), framing=framing)
    assert kinds(fed.end()) == kinds([message for each in alone for message in Fed(each).end()])


_parts = st.one_of(
    st.integers(0, 40).map(lambda seq: b"6,%d,%d,-;" % (seq, seq)),
    st.sampled_from(
        [b"\n", b"\n", b"\r\n", b" ", b" a=", b" SUBSYSTEM=", b" taskname=", b"<6>", b"[    1.000000] ", b"{"]
    ),
    st.sampled_from([NOTICE, b"\0", b"7.0,", b"6,", b" msgid=5\n"]),
)


@settings(max_examples=300)
@given(
    st.lists(st.lists(_parts, max_size=8), max_size=8),
    st.sampled_from([AUTO, LINE, DATAGRAM]),
    st.booleans(),
)
def test_every_byte_is_in_a_message(datagrams: list[list[bytes]], framing: int, legacy_datagrams: bool) -> None:
    """The words between any parts of headers and bodies are each in one message, unless its record is a duplicate."""
    fed = Fed(framing=framing, legacy_datagrams=legacy_datagrams)
    words: list[bytes] = []
    for parts in datagrams:
        datagram = b""
        for part in parts:
            words.append(b"word%03d." % len(words))
            datagram += part + words[-1]
        fed.feed(datagram)
    messages = [message for message in fed.end() if not isinstance(message, LegacyDatagram)]
    # A word in a header is not in a body.
    text = b"\n".join(message.raw for message in messages)
    if fed.counters.dropped_duplicate + fed.counters.dropped_records == 0:
        assert [word for word in words if text.count(word) != 1] == []
