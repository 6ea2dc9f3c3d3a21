"""Two senders of one address, as machines behind NAT, whose messages have the same time and the same numbers."""

from __future__ import annotations

from pathlib import Path

import pytest

from netconsd.store import layout
from netconsd.store.journal import Journal
from netconsd.testing import legacy_message

pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'netconsd[store]'")
from netconsd.cli import log
from netconsd.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Return a store of three messages from each of two ports, at the same three times."""
    (tmp_path / layout.JOURNAL).mkdir()
    journal = Journal(tmp_path / layout.JOURNAL, 1, first_number=1, part_bytes=9999, part_seconds=9, most_bytes=9999)
    for line in range(3):
        journal.append(
            0, [legacy_message(f"{port} {line}", port=port, received_at=100.0 + line) for port in (1000, 2000)]
        )
    journal.close()
    return tmp_path


def test_a_context_does_not_repeat_its_message(store: Path) -> None:
    """The messages before and after are others, of both."""
    reader = Store(store)
    context = reader.context(next(each.id for each in reader.messages(grep="1000 1")), before=9, after=9)
    assert context is not None
    found = [each.message.text for each in (*context.before, context.message, *context.after)]
    assert sorted(found) == sorted(f"{port} {line}" for port in (1000, 2000) for line in range(3))


def test_the_context_of_a_search_has_both(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No message is taken for one that was shown."""
    assert log.main(["--store", str(store), "-o", "raw", "--grep", "2000 1", "--context", "9"]) == 0
    assert len(set(capsys.readouterr().out.splitlines())) == 6
