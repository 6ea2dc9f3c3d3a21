"""Searches while the compactor moves and merges: a step of it before any look at a file, at random."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from netconsd.protocol.message import Message
from netconsd.store import journal, layout
from netconsd.store.journal import Journal
from netconsd.testing import extended_message

pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'netconsd[store]'")
from netconsd.store import Store, compactor, index, query, segment
from netconsd.store.compactor import Compactor

T0 = 1_795_859_200.0
#: Calls of the reader before which the compactor can take a step.
CALLS = (
    (journal, "parts"),
    (journal, "read"),
    (layout, "segment_files"),
    (index, "read"),
    (index.Index, "section"),
    (segment, "open_segment"),
    (segment, "read_group"),
)


class NoSync:
    """The calls of the operating system, without waiting for the disk."""

    def __getattr__(self, name: str) -> Any:
        return (lambda fd: None) if name in ("fsync", "fdatasync") else getattr(os, name)


class Moving:
    """A store that changes."""

    def __init__(self, directory: Path, choices: random.Random) -> None:
        (directory / layout.JOURNAL).mkdir()
        self._random = choices
        self._directory = directory
        self._journal = Journal(
            directory / layout.JOURNAL,
            2,
            first_number=1,
            part_bytes=1 << 30,
            part_seconds=1e9,
            most_bytes=1 << 40,
            system=NoSync(),
        )
        self._compactor = Compactor(directory, system=NoSync())
        self._compactor.recover()
        self._stepping = False
        self.written = 0

    def write(self) -> None:
        """Append messages; their texts are their numbers."""
        messages: list[Message] = [
            extended_message(f"{number}", address=f"192.0.2.{number % 5}", received_at=T0 + number // 3, seq=number)
            for number in range(self.written, self.written + self._random.randint(1, 60))
        ]
        self._journal.append(self._random.randint(0, 1), messages)
        self.written += len(messages)

    def step(self) -> None:
        """Append, close a part, make a segment, or merge; also several of these."""
        if self._stepping:
            return
        self._stepping = True
        for _ in range(self._random.randint(1, 3)):
            kind = self._random.randint(0, 5)
            if kind == 0:
                self.write()
            elif kind == 1:
                for writer in self._journal._writers:
                    writer.sync(end=True)
            elif kind < 5:
                self._compactor.compact()
            else:
                names = [file.name for file in layout.segment_files(self._directory)]
                chosen = sorted(self._random.sample(names, min(len(names), self._random.randint(2, 5))))
                merging = chosen if len(chosen) > 1 else []
                self._compactor._to_merge = partial(list, merging)  # type: ignore[method-assign]
                self._compactor.merge()
        self._stepping = False

    def disturbed(self, function: Callable[..., Any], odds: float) -> Callable[..., Any]:
        """Return a function before which a step is taken at times."""

        def called(*arguments: Any, **options: Any) -> Any:
            if not self._stepping and self._random.random() < odds:
                self.step()
            return function(*arguments, **options)

        return called


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 4))])
def test_every_message_is_found_once(tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each search finds all messages that were written before it, each once and in order, whatever moves when."""
    for module in (segment, compactor):
        monkeypatch.setattr(module, "GROUP_ROWS", 16)
    monkeypatch.setattr(index, "NEWEST_ROWS", 8)
    monkeypatch.setattr(query, "BATCH_ROWS", 7)
    # The compactor can be quicker than a search here for longer than in the field.
    monkeypatch.setattr(query, "TRIALS", 100)
    choices = random.Random(seed)
    store = Moving(tmp_path, choices)
    for _ in range(4):
        store.write()
        store.step()
    for owner, name in CALLS:
        monkeypatch.setattr(owner, name, store.disturbed(getattr(owner, name), 0.04))
    reader = Store(tmp_path)
    for search in range(4):
        written = store.written
        newest_first = bool(search % 2)
        found = []
        for each in reader.messages(newest_first=newest_first):
            found.append(int(each.message.text))
            if choices.random() < 0.01:
                store.step()
        assert len(found) == len(set(found))
        assert set(range(written)) <= set(found)
        times = [number // 3 for number in found]
        assert times == sorted(times, reverse=newest_first)
        some = reader.messages(limit=20, newest_first=True)
        newest = [int(each.message.text) for each in some]
        assert len(newest) == len(set(newest)) == 20
        assert min(newest) >= written - 22
    assert layout.segment_files(tmp_path)
