"""Following a store: history and new messages without a seam, whatever the compactor does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from netconsd.protocol.message import Message
from netconsd.store import layout
from netconsd.store.journal import Journal
from netconsd.testing import extended_message

pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'netconsd[store]'")
from netconsd.store.compactor import Compactor
from netconsd.store.follow import Follow
from netconsd.store.query import Files, Query, Search
from netconsd.store.segment import messages

T0 = 1_795_859_200.0


def said(number: int) -> Message:
    """Return a message with this number as its text and its second."""
    return extended_message(f"n {number}", address=f"192.0.2.{number % 3}", received_at=T0 + number, seq=number)


class Writer:
    """A journal that is written, and its compactor."""

    def __init__(self, directory: Path) -> None:
        (directory / layout.JOURNAL).mkdir()
        self._directory = directory
        self._journal = Journal(
            directory / layout.JOURNAL, 1, first_number=1, part_bytes=1 << 30, part_seconds=1e9, most_bytes=1 << 40
        )
        self.number = 0

    def write(self, count: int) -> None:
        """Append messages with the next numbers."""
        self._journal.append(0, [said(number) for number in range(self.number, self.number + count)])
        self.number += count

    def end_part(self) -> None:
        """Close the part that is written."""
        for each in self._journal._writers:
            each.sync(end=True)

    def compact(self) -> None:
        """Close the part, make a segment of all closed ones, and merge the segments."""
        self.end_part()
        compactor = Compactor(self._directory)
        compactor.recover()
        while compactor.compact():
            pass
        names = [file.name for file in layout.segment_files(self._directory)]
        compactor._to_merge = lambda: names if len(names) > 1 else []  # type: ignore[method-assign]
        compactor.merge()


@pytest.fixture
def writer(tmp_path: Path) -> Writer:
    """Return a store with messages in a segment and in the journal."""
    writer = Writer(tmp_path)
    writer.write(10)
    writer.compact()
    writer.write(10)
    return writer


def polled(follow: Follow) -> list[str]:
    """Return the texts of the new messages."""
    rows = follow.poll()
    return [] if rows is None else [message.text for message in messages(rows)]


def numbered(first: int, end: int) -> list[str]:
    """Return the texts of messages by their numbers."""
    return [f"n {number}" for number in range(first, end)]


def history(files: Files, follow: Follow) -> Iterator[str]:
    """Search, and say what was found."""
    for rows in Search(files, Query(), newest_first=False):
        follow.known(rows)
        yield from (message.text for message in messages(rows))


@pytest.mark.parametrize("between", [lambda writer: None, Writer.end_part, Writer.compact])
def test_there_is_no_seam(tmp_path: Path, writer: Writer, between: Callable[[Writer], None]) -> None:
    """Messages before, during and after the search are found once, wherever they are moved to meanwhile."""
    files = Files(tmp_path)
    follow = Follow(files, Query(), lambda: T0 + writer.number)
    writer.write(5)
    between(writer)
    found = list(history(files, follow))
    assert found == numbered(0, 25)
    between(writer)
    for _ in range(3):
        writer.write(7)
        between(writer)
        found += polled(follow)
        writer.write(2)
        between(writer)
        writer.write(1)
        between(writer)
        found += polled(follow)
        assert found == numbered(0, writer.number)
        assert polled(follow) == []
    follow.close()


def test_only_what_matches(tmp_path: Path, writer: Writer) -> None:
    """The conditions are those of the search."""
    follow = Follow(Files(tmp_path), Query(grep="[05]$", hosts=("192.0.2.1",)), lambda: T0)
    writer.write(30)
    assert polled(follow) == ["n 25", "n 40"]
    follow.close()
