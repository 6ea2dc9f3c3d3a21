"""Messages that a store has already are found within a bounded window, and after a restart."""

from __future__ import annotations

from pathlib import Path

import pytest

from netconsd.message import ExtendedMessage, Message
from netconsd.protocol.seen import WINDOW
from netconsd.store.repeats import Repeats
from netconsd.testing import extended_message, legacy_message


def record(seq: int, *, boot: int = 0, address: str = "192.0.2.1", **marks: object) -> Message:
    """A record of a boot, with a timestamp that no record of another boot has."""
    return extended_message(f"{seq}", seq=seq, ts_usec=1000 * seq + boot + 1, address=address, **marks)  # type: ignore[arg-type]


def seqs(messages: list[Message]) -> list[int]:
    """The seqs of records."""
    return [message.seq for message in messages if isinstance(message, ExtendedMessage)]


def test_repeats() -> None:
    """A batch that comes twice is dropped whole, one of which a part is known in that part; the order stays."""
    repeats = Repeats()
    batch = [record(seq) for seq in range(5)]
    assert repeats.fresh(batch) is batch
    assert repeats.fresh([record(seq) for seq in range(5)]) == []
    assert seqs(repeats.fresh([record(seq) for seq in (3, 7, 4, 6)])) == [7, 6]
    assert repeats.found == 7


def test_other_ports_are_the_same_host() -> None:
    """The port is not compared, the address is."""
    repeats = Repeats()
    repeats.fresh([record(1)])
    assert repeats.fresh([record(1, port=7777)]) == []
    assert seqs(repeats.fresh([record(1, address="192.0.2.2")])) == [1]


def test_never_repeats() -> None:
    """Records with the timestamp 0, replayed ones, a whole one after an incomplete one, and lines are all kept."""
    repeats = Repeats()
    kept: list[Message] = [
        extended_message("Linux version", seq=0, ts_usec=0),
        record(1, replayed=True),
        record(2, incomplete=True),
        legacy_message("line"),
    ]
    assert repeats.fresh(list(kept)) == kept
    assert repeats.fresh([*kept[:2], record(2), kept[3]])[2:] == [record(2), kept[3]]
    assert repeats.fresh([record(2, incomplete=True)]) == []


def test_boots() -> None:
    """The end of the boot before is known, and a new boot has the same seqs again."""
    repeats = Repeats()
    block = [record(seq) for seq in range(400, 420)] + [record(seq, boot=1) for seq in range(380, 410)]
    assert len(repeats.fresh(list(block))) == 50
    assert repeats.fresh(list(block)) == []
    assert repeats.fresh([record(seq) for seq in range(400, 420)]) == []


def test_late_records_are_of_the_same_run() -> None:
    """Records that came out of order begin no run."""
    repeats = Repeats()
    for seq in (100, 98, 101, 97, 102, 96):
        assert seqs(repeats.fresh([record(seq)])) == [seq]
    assert repeats.fresh([record(seq) for seq in (100, 98, 101, 97, 102, 96)]) == []


def test_machines_that_share_an_address() -> None:
    """Two machines behind one address, whose records alternate, each have a window."""
    repeats = Repeats()
    block = [record(seq + 50_000 * machine, boot=machine) for seq in range(100) for machine in (0, 1)]
    assert len(repeats.fresh(list(block))) == 200
    assert repeats.fresh(list(block)) == []


def test_the_window() -> None:
    """A record that is further behind than the window is kept: nothing is dropped on a guess."""
    repeats = Repeats()
    repeats.fresh([record(seq) for seq in range(WINDOW + 1)])
    assert seqs(repeats.fresh([record(0)])) == [0]


def test_memory_is_bounded() -> None:
    """The addresses silent longest are forgotten."""
    repeats = Repeats(memory=100_000)
    for number in range(1000):
        repeats.fresh([record(1, address=f"192.0.{number // 250}.{number % 250}")])
        assert repeats.cost <= 100_000
    assert repeats.fresh([record(1, address="192.0.3.249")]) == []
    assert seqs(repeats.fresh([record(1, address="192.0.0.0")])) == [1]


@pytest.mark.parametrize("ends", ["in the journal", "in a segment"])
def test_after_a_restart(tmp_path: Path, ends: str) -> None:
    """A store that is started again drops what it has, in its journal and in its newest segment; once in the file."""
    pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'netconsd[store]'")
    from modules.store import Store
    from netconsd.store import reader
    from netconsd.store.compactor import Compactor

    class Uncompacted(Store):
        def _watch(self) -> None:
            pass

    def run(first: int, end: int) -> int:
        module = Uncompacted(directory=tmp_path / "store", drop_copies=True)
        module.start(1)
        batch = [record(seq, received_at=1e9 + seq) for seq in range(first, end)]
        module.handle_batch(0, batch)
        module.handle_batch(0, [legacy_message("line", received_at=1e9 + end)])
        copies = next(metric.value for metric in module.metrics() if metric.name == "store_copies")
        module.finish()
        return int(copies or 0)

    assert run(0, 30) == 0
    if ends == "in a segment":
        compactor = Compactor(tmp_path / "store", segment_bytes=1 << 20)
        compactor.recover()
        assert compactor.compact()
    assert run(10, 40) == 20
    found = [stored.message for stored in reader.Store(tmp_path / "store").messages()]
    assert sorted(seqs(found)) == list(range(40))
    assert len(found) == 42
