"""The neighbours of a message, and the forms of messages, of a store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from netconsd.store import layout
from netconsd.store.journal import Journal
from netconsd.testing import extended_message

pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'netconsd[store]'")
from netconsd.store import Store
from netconsd.store.compactor import Compactor
from netconsd.store.reader import Context, Stored

T0 = 1_795_859_200.0


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store of two segments and a journal: messages of three hosts in turn, four of each microsecond."""
    (tmp_path / layout.JOURNAL).mkdir()
    compactor = Compactor(tmp_path)
    compactor.recover()
    for part in range(3):
        journal = Journal(
            tmp_path / layout.JOURNAL,
            1,
            first_number=1 + part,
            part_bytes=1 << 30,
            part_seconds=1e9,
            most_bytes=1 << 40,
        )
        numbers = range(part * 400, part * 400 + 400)
        journal.append(
            0,
            [
                extended_message(
                    f"disk {number}: slow",
                    address=f"192.0.2.{number % 3}",
                    received_at=T0 + number // 4,
                    seq=number,
                    level=number % 8,
                    release="7.3",
                )
                for number in numbers
            ],
        )
        journal.close()
        if part < 2:
            compactor.compact()
    return Store(tmp_path)


@pytest.mark.parametrize("all_hosts", [False, True])
def test_a_context_has_the_neighbours(store: Store, all_hosts: bool) -> None:
    """The messages before and after are those of the order of the store, of the host or of all; fewer at its ends."""
    everything = list(store.messages())
    for match in [*everything[:2], *everything[398:402], everything[700], *everything[-2:]]:
        host = match.message.source.address
        some = [each for each in everything if all_hosts or each.message.source.address == host]
        place = some.index(match)
        for before, after in ((0, 0), (3, 0), (0, 3), (5, 7), (2000, 2000)):
            found = store.context(match.id, before=before, after=after, all_hosts=all_hosts)
            assert found == Context(
                tuple(some[max(0, place - before) : place]), match, tuple(some[place + 1 : place + 1 + after])
            )


def test_a_context_among_messages_of_the_same_time(store: Store) -> None:
    """Any number of messages of one microsecond."""
    journal = Journal(
        store.directory / layout.JOURNAL, 1, first_number=9, part_bytes=1 << 30, part_seconds=1e9, most_bytes=1 << 40
    )
    journal.append(
        0,
        [extended_message(f"{n}", address="192.0.2.9", received_at=T0 + 5000, seq=n) for n in range(1000)],
    )
    journal.close()
    [match] = store.messages(grep="^500$", hosts=["192.0.2.9"])
    found = store.context(match.id, before=2, after=600)
    assert found is not None
    assert [each.message.text for each in found.before] == ["498", "499"]
    assert [each.message.text for each in found.after] == [f"{n}" for n in range(501, 1000)]


def test_a_context_of_nothing(store: Store) -> None:
    """None for a message that is not stored; a wrong argument is an error that begins with its name."""
    assert store.context("192.0.2.1/1/999999") is None
    for arguments, name in (({"before": -1}, "before"), ({"after": -1}, "after")):
        with pytest.raises(ValueError, match=f"^{name}: "):
            store.context("192.0.2.1/1/1", **arguments)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^identity: "):
        store.context("nothing")


def test_patterns(store: Store) -> None:
    """The forms of segments and journal, by time and by host, the same without the indexes."""
    for damaged in (False, True):
        if damaged:
            for file in layout.segment_files(store.directory):
                file.index.unlink()
        [form] = Store(store.directory).patterns()
        assert (form.count, form.level, form.first, form.last) == (1200, 0, T0, T0 + 299)
        assert form.hosts == {f"192.0.2.{host}" for host in range(3)}
        assert form.releases == {"7.3": 1200}
        [form] = store.patterns(since=T0 + 250)
        assert form.count == 400
        assert store.patterns(since=T0 + 1000) == store.patterns(hosts=["192.0.2.77"]) == []
        assert len(store.patterns(hosts=["192.0.2.1"])) == 1


def test_counts_with_conditions(store: Store) -> None:
    """The conditions of a search; a level alone needs the indexes only."""
    everything: list[Stored] = list(store.messages())

    def counted(found: list[Stored]) -> dict[tuple[int, int | None], int]:
        counts: dict[tuple[int, int | None], int] = {}
        for each in found:
            key = int(each.message.received_at // 60 * 60), each.message.level
            counts[key] = counts.get(key, 0) + 1
        return counts

    conditions: tuple[dict[str, Any], ...] = (
        {"level": 3},
        {"exclude": "7"},
        {"grep": "DISK .7", "ignore_case": True},
        {"release": "7", "hosts": ["192.0.2.1"]},
        {"boot": 0, "level": 5},
    )
    for arguments in conditions:
        found = {(minute, level): count for minute, level, count in store.counts(**arguments)}
        assert found == counted(list(store.messages(**arguments))) != counted(everything)
