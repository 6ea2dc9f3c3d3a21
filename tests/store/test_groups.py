"""Row groups: the index made from their numbers is the one made from their rows; records can be taken back."""

from __future__ import annotations

from array import array

import pytest

pytest.importorskip("pyarrow")

from netconsd.protocol.message import LegacyMessage, Message
from netconsd.store import index, segment
from netconsd.store.boots import Boots
from netconsd.store.cells import Cells, at_places, either, narrow
from netconsd.store.columns import Columns
from netconsd.testing import extended_message, source
from tests.store.test_compactor_bounds import added, generated
from tests.support.plain_build import PlainBuild

plain = PlainBuild()


def of_all_kinds() -> list[Message]:
    """Return messages that differ in each field that a row has."""
    messages = generated(3, 400)
    for seq in range(60):
        message = extended_message(
            f"é{seq}\\ \n",
            seq=seq,
            ts_usec=1000 * seq,
            level=seq % 8,
            facility=seq,
            address=f"198.51.100.{seq % 5}",
            port=1000 + seq % 2,
            received_at=1e9 + 60 * seq,
            release=f"r{seq % 7}" if seq % 2 else None,
            cpu=seq if seq % 5 else None,
            taskname="java" if seq % 4 else None,
            userdata={"rack": f"{seq % 3}"} if seq % 6 else {},
            msgid=seq if seq % 7 else None,
            caller=f"T{seq % 4}" if seq % 5 else None,
        )
        message._lost, message._limited = seq % 3 - 1, seq % 4
        message._likely_lost = seq % 2
        messages.append(message)
    return [*messages, *(LegacyMessage(source("203.0.113.1"), 1e9, line) for line in (b"<6>plain\n", b"\n"))]


@pytest.mark.parametrize("rows", [1, 50, 1000])
def test_an_index_of_groups_is_the_one_of_their_rows(rows: int) -> None:
    """The sections are the same, whether they are made from a group's numbers or from the table that a segment has."""
    columns, boots = added(of_all_kinds()), Boots()
    columns.order()
    of_groups, of_rows = index.Summary(), index.Summary()
    while columns.fill(rows, 1 << 30):
        boots.assign(columns)
        group = segment.group(columns, boots)
        of_groups.add_group(group)
        of_rows.add(group.table)
    found, expected = of_groups.sections(), of_rows.sections()
    assert found.keys() == expected.keys()
    assert [name for name in found if found[name] != expected[name]] == []
    assert of_groups.groups == of_rows.groups


def test_the_builds_agree() -> None:
    """Both builds make the same buffers of the same records."""
    columns = added(of_all_kinds())
    columns.sort()
    boots = Boots()
    boots.assign(columns)
    found, expected = Cells(columns, boots.number), plain.cells.Cells(columns, boots.number)
    names = [name for name in vars(expected) if not name.startswith("_")]
    assert {"kinds", "none_lost_rows"} <= set(names)
    assert [name for name in names if getattr(found, name) != getattr(expected, name)] == []


def test_places_that_are_not_there() -> None:
    """A place without a number is an error, not a read behind the end."""
    none = (1 << 64) - 1
    for at, other, small in (
        (at_places, either, narrow),
        (plain.cells.at_places, plain.cells.either, plain.cells.narrow),
    ):
        assert list(at(array("Q", [7, 8]), array("Q", [1, none, 0]))) == [8, none, 7]
        assert list(at(array("Q", [7, 8]), array("Q", [1, none]), 0)) == [8, 0]
        assert list(other(array("Q", [1, none]), array("Q", [2, 3]))) == [1, 3]
        numbers, bits, missing = small(array("Q", [5, none, 6]))
        assert (list(numbers), bytes(bits), missing) == ([5, 0, 6], b"\x05", 1)
        with pytest.raises(IndexError):
            at(array("Q", [7]), array("Q", [1]))
        with pytest.raises(IndexError):
            other(array("Q", [7]), array("Q"))


def test_records_are_taken_back() -> None:
    """After :meth:`Columns.cut`, everything is as if the records since :meth:`Columns.mark` were never added."""
    first, second, third = generated(1, 50), generated(2, 80), of_all_kinds()
    expected = added([*first, *third])
    columns = added(first)
    mark = columns.mark()
    for records in added(second).blocks:
        columns.add(records)
    columns.cut(mark)
    for records in added(third).blocks:
        columns.add(records)
    assert (columns.rows, columns.sender_count, columns.earliest) == (
        expected.rows,
        expected.sender_count,
        expected.earliest,
    )
    assert rows_of(columns) == rows_of(expected)


def test_records_between_positions() -> None:
    """Blocks of one object, with other bytes between them, are the same as each by itself."""
    (one,), (other,) = added(generated(1, 50)).blocks, added(generated(2, 50)).blocks
    together = b"head" + one + b"between" + other
    columns = Columns()
    columns.add(together, 4, 4 + len(one))
    columns.add(together, 11 + len(one), len(together))
    expected = Columns()
    expected.add(one)
    expected.add(other)
    assert rows_of(columns) == rows_of(expected)
    for start, end in ((-1, 5), (5, 4), (0, len(together) + 1)):
        with pytest.raises(IndexError):
            Columns().add(together, start, end)


def rows_of(columns: Columns) -> list[dict[str, object]]:
    """Return the rows of columns that are not sorted yet."""
    columns.sort()
    boots = Boots()
    boots.assign(columns)
    found: list[dict[str, object]] = segment.table(columns, boots).to_pylist()
    return found
