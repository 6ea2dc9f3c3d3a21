"""Finds messages that a store has already: a broker delivered them twice, or two receivers sent them. Hot.

Rules:

1. A record is a repeat if a record with its address, seq and timestamp is one of the last
   :data:`~netconsd.protocol.seen.WINDOW` seqs of the address, in this run of its seqs or in the one before: a boot
   begins a run. Ports are not compared, as a machine has a port for each target.
2. Never repeats: records with the timestamp 0, whose like are in every boot; records that are marked ``replayed``, as
   the sender sent them again; a whole record of which an incomplete one is stored; legacy lines, which have no seq.
3. The memory is bounded: beyond it, the addresses silent longest are forgotten, and their repeats are stored.

After a restart, :func:`remember` reads the last messages of the store.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from netconsd.protocol.message import ExtendedMessage, Message, Source, without_scope
from netconsd.protocol.seen import ABSENT, WINDOW, Seen
from netconsd.store import journal, layout
from netconsd.store.records import Damaged, unpack

#: Bytes for all addresses: 5,000 that send much, or 100,000 that are quiet.
MEMORY_LIMIT: Final = 64 << 20
#: Bytes of the journal, the newest ones, that are read after a restart: 400,000 messages, in a second.
REMEMBERED_BYTES: Final = 64 << 20
#: Seconds before the last message of the newest segment, whose messages are read after a restart: a broker delivers
#: again what was not acknowledged, within its time for that.
REMEMBERED_SECONDS: Final = 600
# Measured on CPython 3.11: the objects and the dict entry of an address, and the bytes of a seq.
_ADDRESS_BYTES = 450
_SEQ_BYTES = 10

_COLUMNS: Final = ("received_at", "host", "port", "scope_id", "seq", "ts_usec", "marks")


class _Address:
    __slots__ = ("before", "current", "turn")

    def __init__(self, seen: Seen) -> None:
        self.current = seen
        self.before: Seen | None = None
        #: The number of the last batch with it.
        self.turn = 0

    def size(self) -> int:
        return self.current.size() + (0 if self.before is None else self.before.size())


class Repeats:
    """The records that were stored last. For one thread at a time; no message raises."""

    def __init__(self, memory: int = MEMORY_LIMIT) -> None:
        """
        :param memory: the bytes for all addresses.
        """
        self._memory = memory
        self._addresses: dict[bytes, _Address] = {}
        self._turn = 0
        #: The approximate bytes.
        self.cost = 0
        #: Repeats that were found.
        self.found = 0

    def fresh(self, messages: list[Message]) -> list[Message]:
        """Return the messages that are no repeats, in order, and remember them: mostly the list itself."""
        self._turn += 1
        kept: list[Message] | None = None
        for index, message in enumerate(messages):
            if self._is_repeat(message):
                self.found += 1
                if kept is None:
                    kept = messages[:index]
            elif kept is not None:
                kept.append(message)
        if self.cost > self._memory:
            self._forget()
        return messages if kept is None else kept

    def add(self, source: Source, seq: int, ts_usec: int) -> None:
        """Remember a record that is stored: one that is whole, and whose timestamp is not 0."""
        self._is_known(source.key, seq, ts_usec)

    def _is_repeat(self, message: Message) -> bool:
        if not isinstance(message, ExtendedMessage):
            return False
        record = message
        if record._ts_usec == 0 or record._replayed:
            return False
        if record._incomplete:
            return self._has(record._source.key, record._seq, record._ts_usec)
        return self._is_known(record._source.key, record._seq, record._ts_usec)

    def _has(self, key: bytes, seq: int, ts_usec: int) -> bool:
        address = self._addresses.get(without_scope(key[:16]))
        if address is None:
            return False
        return address.current.stamp(seq) == ts_usec or (
            address.before is not None and address.before.stamp(seq) == ts_usec
        )

    def _is_known(self, key: bytes, seq: int, ts_usec: int) -> bool:
        """Return true if a record is known; else remember it."""
        name = without_scope(key[:16])
        address = self._addresses.get(name)
        if address is None:
            address = self._addresses[name] = _Address(Seen(seq))
            self.cost += _ADDRESS_BYTES + _SEQ_BYTES * address.size()
        address.turn = self._turn
        current = address.current
        if current.stamp(seq) == ts_usec:
            return True
        if address.before is not None and address.before.stamp(seq) == ts_usec:
            return True
        size = address.size()
        if not _continues(current, seq):
            # The run before is continued if machines share an address.
            before = address.before
            address.before = current
            address.current = current = before if before is not None and _continues(before, seq) else Seen(seq)
        current.put(seq, ts_usec, 0)
        if address.size() != size:
            self.cost += _SEQ_BYTES * (address.size() - size)
        return False

    def _forget(self) -> None:
        """Forget the addresses silent longest, a tenth more than needed, so that sorting is rare."""
        for name, address in sorted(self._addresses.items(), key=_turn_of):
            if self.cost <= self._memory - self._memory // 10:
                break
            del self._addresses[name]
            self.cost -= _ADDRESS_BYTES + _SEQ_BYTES * address.size()


def _continues(run: Seen, seq: int) -> bool:
    """Return false if a seq is far from the highest one, or another record has it."""
    top = run.top
    distance = seq - top if seq > top else top - seq
    return distance < WINDOW and run.stamp(seq) == ABSENT


def _turn_of(item: tuple[bytes, _Address]) -> int:
    return item[1].turn


def remember(directory: Path, repeats: Repeats, *, damaged: Callable[[str], object] = lambda text: None) -> None:
    """Remember the last messages of a store: those of the newest segment, and of the journal.

    Needs pyarrow. What cannot be read is passed over, and its repeats are stored.

    :param damaged: called with a text for each file that cannot be read.
    """
    parts = []
    left = REMEMBERED_BYTES
    for part in reversed(journal.parts(directory / layout.JOURNAL)):
        left -= part.path.stat().st_size
        if left < 0:
            break
        parts.append(part)
    if left >= 0:
        for file in layout.segment_files(directory)[-1:]:
            try:
                _remember_segment(file.path, repeats)
            except (Damaged, OSError) as error:
                damaged(f"{file.path}: {error}")
    for part in reversed(parts):
        try:
            for _, records, _ in journal.read(part.path):
                repeats.fresh(unpack(records))
        except (Damaged, OSError) as error:
            damaged(f"{part.path}: {error}")
    repeats.found = 0


def _remember_segment(path: Path, repeats: Repeats) -> None:
    import pyarrow as pa
    import pyarrow.compute as pc

    from netconsd.store import segment

    file, _ = segment.open_segment(path)
    with file:
        groups = [segment.read_group(file, group, _COLUMNS) for group in range(file.num_row_groups)]
    if not groups:
        return
    rows = pa.concat_tables(groups, promote_options="default")
    times = rows.column("received_at").cast(pa.int64())
    late = pc.greater_equal(times, (pc.max(times).as_py() or 0) - REMEMBERED_SECONDS * 1_000_000)
    rows = rows.filter(late)
    sources: dict[tuple[str, int, int], Source] = {}
    for host, port, scope, seq, ts_usec, marks in zip(
        *(rows.column(name).to_pylist() for name in _COLUMNS[1:]), strict=True
    ):
        if seq is None or not ts_usec or "incomplete" in marks or "replayed" in marks:
            continue
        source = sources.get((host, port, scope))
        if source is None:
            source = sources[host, port, scope] = layout.source_at(host, port, scope)
        repeats.add(source, seq, ts_usec)
