"""A stream's records reach the server once each, or are in the dead letters or a counter, whatever the server does."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from netconsd.jsonl import from_json
from netconsd.streams.delivery import FAULT_SECONDS, PAUSE_LIMIT, RETRY_AFTER_LIMIT, Limits
from netconsd.streams.record import Record
from netconsd.streams.sink import Answer, Encoded, Sink, TryLater
from netconsd.testing import extended_message
from tests.support.scripted_stream import Rig, ScriptedSink, Server, away, messages, refuse


@pytest.fixture
def server() -> Server:
    """A server."""
    return Server()


@pytest.fixture
def rig(tmp_path: Path, server: Server) -> Rig:
    """A stream to it."""
    return Rig(tmp_path, ScriptedSink(server))


def seqs(ids: list[str]) -> list[int]:
    """Return the sequence numbers of identities."""
    return [int(name.rpartition("/")[2]) for name in ids]


def test_records_arrive_in_order(rig: Rig, server: Server) -> None:
    """Every message arrives once, in order, and a second run sends nothing again."""
    rig.append(0, messages(2500))
    counts = rig.run()
    assert seqs(server.ids) == list(range(1, 2501))
    assert [len(batch) for batch in server.batches] == [1000, 1000, 500]
    assert (counts.queued, counts.sent, counts.dead, counts.dropped, counts.oldest) == (2500, 2500, 0, 0, None)
    rig.append(0, messages(1, first=2501))
    rig.run()
    assert seqs(server.ids) == list(range(1, 2502))


def test_the_log_has_no_control_characters(rig: Rig, server: Server) -> None:
    """A server's answer is shown in one line, whatever it is."""
    texts = ["503 \x1b[2J\nforged line"]

    def answer(records: list[Record]) -> Answer | None:
        if texts:
            raise TryLater(texts.pop())
        return None

    server.answer = answer
    rig.append(0, messages(1))
    rig.run()
    assert rig.warnings == [r"not delivered: 503 \x1b[2J\x0aforged line; records wait in the spool"]


@pytest.mark.parametrize("tells_stored", [False, True])
def test_killed_with_a_part_of_a_batch(tmp_path: Path, server: Server, *, tells_stored: bool) -> None:
    """A server that is killed after it accepted a part of a batch, and lost it, gets that part again."""
    rig = Rig(tmp_path, ScriptedSink(server, settle=10.0, tells_stored=tells_stored))
    answers: list[Answer | None] = [Answer("quota", later=frozenset((1, 2)))]
    server.answer = lambda records: answers.pop() if answers else None
    killed: list[bool] = []

    def on_wait(number: int) -> bool:
        if not answers and not killed:
            killed.append(True)
            server.kill()
        return rig.is_idle()

    rig.on_wait = on_wait
    rig.append(0, messages(3))
    counts = rig.run()
    assert sorted(set(seqs(server.ids))) == [1, 2, 3]
    assert counts.sent == 3


def test_a_batch_has_at_most_so_many_bytes(tmp_path: Path, server: Server) -> None:
    """A batch ends before the record that would exceed its bytes; a larger record is sent alone."""
    rig = Rig(tmp_path, ScriptedSink(server), Limits(size=20))
    rig.append(0, [extended_message(text, seq=seq) for seq, text in enumerate(["x" * 9, "x" * 9, "x" * 50, "x", "x"])])
    rig.run()
    assert [seqs(batch) for batch in server.batches] == [[0, 1], [2], [3, 4]]


def test_a_batch_that_is_not_full_waits_for_others(rig: Rig, server: Server) -> None:
    """The next batch is sent after the time of batches, with all that arrived meanwhile."""
    rig.append(0, messages(1))

    def on_wait(number: int) -> bool:
        if number == 1:
            rig.append(0, messages(2, first=2))
        return number > 3

    rig.on_wait = on_wait
    rig.run()
    assert [seqs(batch) for batch in server.batches] == [[1], [2, 3]]
    assert rig.waits[0] == 1.0


def test_a_server_that_is_away_gets_everything_later(rig: Rig, server: Server) -> None:
    """The pauses double up to their limit; then every record arrives once. The fault lasts until then."""
    rig.append(0, messages(1500))
    server.answer = away(9)
    faults: list[str] = []

    def on_wait(number: int) -> bool:
        faults.append(rig.delivery.counts.fault)
        return rig.is_idle()

    rig.on_wait = on_wait
    counts = rig.run()
    assert rig.waits[:9] == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, PAUSE_LIMIT, PAUSE_LIMIT]
    assert seqs(server.ids) == list(range(1, 1501))
    assert (counts.sent, counts.retried, counts.fault) == (1500, 9, "")
    assert sum(rig.waits[: faults.index("not delivered: 503 Service Unavailable")]) >= FAULT_SECONDS
    assert rig.warnings == ["not delivered: 503 Service Unavailable; records wait in the spool"]


def test_a_part_of_the_pause_is_random(tmp_path: Path, server: Server) -> None:
    """Up to half of a pause is taken off."""
    rig = Rig(tmp_path, ScriptedSink(server), jitter=lambda: 1.0)
    rig.append(0, messages(1))
    server.answer = away(3)
    rig.run()
    assert rig.waits[:3] == [0.25, 0.5, 1.0]


@pytest.mark.parametrize(("asked", "waited"), [(17.0, 17.0), (0.0, 0.5), (1e9, RETRY_AFTER_LIMIT)])
def test_retry_after_is_honoured(rig: Rig, server: Server, asked: float, waited: float) -> None:
    """The pause is at least the server's Retry-After, up to its limit."""
    rig.append(0, messages(1))
    server.answer = away(1, asked)
    rig.run()
    assert rig.waits[0] == waited
    assert len(server.ids) == 1


def test_a_refused_record_is_found(rig: Rig, server: Server) -> None:
    """A refused batch is split until the bad record is alone: it becomes a dead letter, the others arrive in order."""
    rig.append(0, messages(1000))
    server.answer = refuse("line 1", "line 500", "line 501", "line 1000")
    counts = rig.run()
    bad = {1, 500, 501, 1000}
    assert seqs(server.ids) == [seq for seq in range(1, 1001) if seq not in bad]
    dead = rig.dead()
    assert seqs([letter["id"] for letter in dead]) == sorted(bad)
    assert {letter["answer"] for letter in dead} == {"400 Bad Request"}
    assert dead[0]["time"] == 5000.0
    assert from_json(json.dumps(dead[0]["record"])) == messages(1)[0]
    assert (counts.sent, counts.refused, counts.dead, counts.dropped) == (996, 4, 4, 0)
    assert counts.refusal
    # Each bad record costs two requests for each halving at most.
    assert len(server.batches) < 4 * 2 * 10 + 1


def test_an_error_for_every_50th_record(rig: Rig, server: Server) -> None:
    """A server that names the records that it refuses gets the others once; sent and dead are all."""

    def answer(records: list[Record]) -> Answer:
        return Answer("207", {place: "bad" for place, record in enumerate(records) if record.id.endswith(("50", "00"))})

    server.answer = answer
    rig.append(0, messages(5000))
    counts = rig.run()
    assert (len(server.ids), counts.sent, counts.dead) == (4900, 4900, 100)
    assert {*server.ids} | {letter["id"] for letter in rig.dead()} == {
        f"192.0.2.1/1000/{seq}" for seq in range(1, 5001)
    }
    assert server.twice == []


def test_records_that_the_server_asks_for_later(rig: Rig, server: Server) -> None:
    """Records of a bulk answer that are to be sent later are sent again, alone."""
    asked: list[int] = []

    def answer(records: list[Record]) -> Answer:
        first, asked[:] = not asked, [1]
        return Answer("429", {}, frozenset([1, 3]) if first else frozenset(), 7.0)

    server.answer = answer
    rig.append(0, messages(5))
    counts = rig.run()
    assert [seqs(batch) for batch in server.batches] == [[1, 2, 3, 4, 5], [2, 4]]
    assert (rig.waits[0], counts.sent, counts.retried) == (7.0, 5, 1)


def test_a_record_that_cannot_be_encoded_is_a_dead_letter(rig: Rig, server: Server) -> None:
    """It is not sent, and the others are."""
    rig.append(0, [extended_message("unencodable", seq=1), extended_message("fine", seq=2)])
    counts = rig.run()
    assert seqs(server.ids) == [2]
    assert [letter["answer"] for letter in rig.dead()] == ["it cannot be encoded"]
    assert (counts.sent, counts.dead) == (1, 1)


def test_full_dead_letters_are_counted(tmp_path: Path, server: Server) -> None:
    """Beyond the size of the file, refused records are dropped and counted, and the fault says so."""
    rig = Rig(tmp_path, ScriptedSink(server), dead_bytes=2000)
    rig.append(0, messages(10))
    server.answer = lambda records: Answer("207", dict.fromkeys(range(len(records)), "bad"))
    counts = rig.run()
    assert 0 < counts.dead < 10
    assert (counts.refused, counts.dead + counts.dropped, counts.sent) == (10, 10, 0)
    assert counts.dead == len(rig.dead())
    assert "is full" in counts.refusal


def killed_at(server: Server, batch: int) -> None:
    """Kill a server when it gets a batch, after it had the ones before."""

    def answer(records: list[Record]) -> Answer | None:
        if len(server.batches) == batch:
            server.kill()
            raise ConnectionResetError("reset by peer")
        return None

    server.answer = answer


@pytest.mark.parametrize("tells_stored", [False, True])
def test_a_killed_server_gets_the_last_seconds_again(tmp_path: Path, server: Server, *, tells_stored: bool) -> None:
    """What a server had accepted and lost is sent again: all records are there, none twice if the server can tell."""
    rig = Rig(tmp_path, ScriptedSink(server, settle=10.0, tells_stored=tells_stored), Limits(records=100))
    rig.append(0, messages(1000))
    killed_at(server, 6)
    server.on_disk = 120
    counts = rig.run()
    assert set(seqs(server.ids)) == set(range(1, 1001))
    assert len(server.twice) == (0 if tells_stored else 120)
    assert (counts.queued, counts.sent, counts.dead, counts.dropped) == (1000, 1000, 0, 0)


def test_a_server_that_has_everything_is_no_fault(tmp_path: Path, server: Server) -> None:
    """A batch whose answer was lost, and that the server has: nothing is sent again, and the stream works."""

    def stored_without_an_answer(records: list[Record]) -> Answer | None:
        server.ids += [record.id for record in records]
        raise TryLater("the answer was lost")

    server.answer = stored_without_an_answer
    rig = Rig(tmp_path, ScriptedSink(server, tells_stored=True))
    rig.append(0, messages(10))
    rig.on_wait = lambda number: number > 20 or rig.is_idle()
    counts = rig.run()
    assert rig.is_idle()
    assert (counts.sent, counts.retried, counts.fault, len(server.batches)) == (10, 1, "", 1)


def test_without_the_settle_time_they_would_be_lost(tmp_path: Path, server: Server) -> None:
    """The test above can fail: a sink that trusts the answer loses what the server lost."""
    rig = Rig(tmp_path, ScriptedSink(server), Limits(records=100))
    rig.append(0, messages(1000))
    killed_at(server, 6)
    rig.run()
    assert len(server.ids) == 500


def test_a_server_killed_while_nothing_is_sent(tmp_path: Path, server: Server) -> None:
    """The cursor moves only if the server survived, also if no batch shows that it did not."""
    rig = Rig(tmp_path, ScriptedSink(server, settle=10.0))
    rig.append(0, messages(10))
    kills = iter([False, True])

    def on_wait(number: int) -> bool:
        if next(kills, False):
            server.kill()
        return rig.is_idle()

    rig.on_wait = on_wait
    counts = rig.run()
    assert seqs(server.ids) == list(range(1, 11))
    assert counts.sent == 10


def test_a_refused_record_is_dead_once(tmp_path: Path, server: Server) -> None:
    """A dead letter whose batch is sent again after a kill is written and counted once."""
    rig = Rig(tmp_path, ScriptedSink(server, settle=10.0), Limits(records=100))
    rig.append(0, messages(300))

    def answer(records: list[Record]) -> Answer | None:
        if len(server.batches) == 3:
            server.kill()
        return Answer("207", {place: "bad" for place, record in enumerate(records) if record.text == "line 50"})

    server.answer = answer
    counts = rig.run()
    assert (counts.dead, counts.sent, len(rig.dead())) == (1, 299, 1)
    assert len(set(server.ids)) == 299


def test_records_in_memory_are_bounded(tmp_path: Path, server: Server) -> None:
    """While accepted batches wait for their settle time, only so many bytes are read."""
    rig = Rig(tmp_path, ScriptedSink(server, settle=10.0), Limits(records=10), unsettled_bytes=500)
    rig.append(0, messages(1000))
    most = 0

    def on_wait(number: int) -> bool:
        nonlocal most
        most = max(most, sum(batch.size() for batch in rig.delivery._unsettled))
        return rig.is_idle() and len(server.ids) == 1000

    rig.on_wait = on_wait
    counts = rig.run()
    assert (counts.sent, len(server.ids)) == (1000, 1000)
    assert 500 <= most < 600


def test_the_stop_sends_the_rest(rig: Rig, server: Server) -> None:
    """At the stop, what is in the spool is sent."""
    rig.append(0, messages(10))

    def on_wait(number: int) -> bool:
        rig.append(0, messages(5, first=11))
        return True

    rig.on_wait = on_wait
    assert rig.run().sent == 15


def test_the_stop_does_not_wait_for_a_server(rig: Rig, server: Server) -> None:
    """At the stop, a server that is away is not asked again; the records are sent after the next start."""
    rig.append(0, messages(10))
    server.answer = away(100)
    rig.on_wait = lambda number: True
    assert rig.run().sent == 0
    assert rig.waits == [0.5]
    server.answer = lambda records: None
    rig.on_wait = lambda number: rig.is_idle()
    assert rig.run().sent == 10
    assert server.twice == []


def test_a_stop_in_order_settles(tmp_path: Path, server: Server) -> None:
    """At the stop, the server is asked to keep what it has, and the next start sends nothing twice."""
    rig = Rig(tmp_path, ScriptedSink(server, settle=10.0))
    rig.append(0, messages(10))
    rig.on_wait = lambda number: True
    assert rig.run().sent == 10
    rig.on_wait = lambda number: number > 3
    rig.run()
    assert (len(server.ids), server.twice) == (10, [])


def test_a_defect_of_a_sink_is_a_fault(rig: Rig, server: Server) -> None:
    """An unexpected exception is logged, and the batch is tried again."""
    raised = iter([ZeroDivisionError("0")])

    def answer(records: list[Record]) -> Answer | None:
        for error in raised:
            raise error
        return None

    server.answer = answer
    rig.append(0, messages(1))
    assert rig.run().sent == 1
    assert "ZeroDivisionError" in rig.warnings[0]


def test_the_methods_that_a_sink_may_leave_out() -> None:
    """A sink without them is trusted: its server keeps what it accepted, and has nothing twice."""
    sink = Sink()
    assert sink.survived()
    assert sink.stored([]) == frozenset()
    assert not sink.kept()


def test_a_server_that_was_started_before_the_first_batch(tmp_path: Path, server: Server) -> None:
    """A kill before a batch was accepted takes nothing back: at the stop the batch is settled."""
    rig = Rig(tmp_path, ScriptedSink(server, settle=10.0))
    rig.append(0, messages(10))
    server.answer = away(1)

    def on_wait(number: int) -> bool:
        if number == 1:
            server.kill()
        return number == 2

    rig.on_wait = on_wait
    assert rig.run().sent == 10


def test_a_trickle_is_sent_in_batches(rig: Rig, server: Server) -> None:
    """While a message arrives with each request, there is the time of batches between two requests."""
    at: list[float] = []

    def answer(records: list[Record]) -> Answer | None:
        at.append(rig.time)
        if len(at) < 5:
            rig.append(0, messages(1, first=len(at) + 1))
        return None

    server.answer = answer
    rig.append(0, messages(1))
    rig.on_wait = lambda number: len(at) == 5
    rig.run()
    assert at == [0.0, 1.0, 2.0, 3.0, 4.0]


def test_a_refused_record_of_a_batch_under_way_is_dead_once(tmp_path: Path, server: Server) -> None:
    """A dead letter in the first part of a batch, whose second part shows that the server was killed, is counted
    once."""
    rig = Rig(tmp_path, ScriptedSink(server, settle=10.0), Limits(records=10, size=40))
    rig.append(0, messages(20))
    killed: list[int] = []

    def answer(records: list[Record]) -> Answer | None:
        if records[0].text == "line 16" and not killed:
            killed.append(1)
            server.kill()
            raise ConnectionResetError("reset by peer")
        return Answer("207", {place: "bad" for place, record in enumerate(records) if record.text == "line 12"})

    server.answer = answer
    counts = rig.run()
    assert killed
    assert (counts.dead, counts.sent, len(rig.dead())) == (1, 19, 1)


def test_records_that_are_not_wanted_cost_no_time(rig: Rig, server: Server) -> None:
    """A stream that sends one message in a thousand, or none for a while, reads on at once, and commits its place."""
    rig.append(0, messages(10_000))
    rig.wanted = lambda records: [record for record in records if record.text in ("line 500", "line 9500")]
    counts = rig.run()
    assert seqs(server.ids) == [500, 9500]
    assert (counts.queued, counts.sent) == (2, 2)
    assert rig.waits == [1.0]
    rig.wanted = lambda records: records
    rig.run()
    assert len(server.ids) == 2


def test_the_stop_reads_over_records_that_are_not_wanted(rig: Rig, server: Server) -> None:
    """At the stop, the rest is sent although records before it are not wanted."""
    rig.wanted = lambda records: [record for record in records if record.text == "line 9500"]

    def on_wait(number: int) -> bool:
        rig.append(0, messages(10_000))
        return True

    rig.on_wait = on_wait
    assert rig.run().sent == 1


def test_turns_without_records(tmp_path: Path) -> None:
    """A sink's own work is done at each turn, also without records, and after the last ones at the stop. Its fault and
    its numbers are reported; a defect in it is a warning, and stops nothing."""
    server = Server()
    done: list[str] = []

    class Ticking(ScriptedSink):
        def tick(self) -> None:
            done.append("tick")
            self.numbers = {"ticks": done.count("tick")}
            self.fault = "a recipient is away"
            if len(done) == 1:
                raise KeyError("defect")

        def send(self, batch: Sequence[Encoded]) -> Answer:
            done.append("send")
            return super().send(batch)

    rig = Rig(tmp_path, Ticking(server))

    def stop(number: int) -> bool:
        if number == 5:
            rig.append(0, messages(3))
        return number == 5

    rig.on_wait = stop
    counts = rig.run()
    assert (counts.sent, counts.sink_fault) == (3, "a recipient is away")
    assert done.index("send") >= 5
    assert done[-1] == "tick"
    assert counts.numbers == {"ticks": done.count("tick")}
    assert [text.splitlines()[-1] for text in rig.warnings] == ["KeyError: 'defect'"]
