"""The table of what arrives of a panic: it agrees with the recordings, the docs show it, and its answers are right."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from netconsd.crash.arrival import (
    ALL,
    ARRIVALS,
    KDUMP,
    MANY,
    NOTHING,
    PART,
    Arrival,
    Outcome,
    arrives,
    explanation,
    machine_of,
)
from netconsd.protocol.counters import WorkerCounters
from netconsd.protocol.message import ExtendedMessage, Message
from netconsd.protocol.stream import Stream
from netconsd.testing import source
from tests.support.arrival_table import PAGE, table

#: For each recording: the release if it was sent, and the numbers of panics, of their last lines, and of
#: reboots; without the lines of a buffer that was sent again.
RECORDED: dict[str, dict[str, Any]] = json.loads((Path(__file__).parents[1] / "data" / "arrivals.json").read_text())
#: The whole recordings, which are not in the repository.
CAPTURES = Path(__file__).parents[2].parent / "shared" / "captures"

OUTCOMES = [
    (row, outcome, reboots, name)
    for row in ARRIVALS
    for reboots, outcome in ((False, row.stays), (True, row.reboots))
    if outcome is not None and outcome.sources != MANY
    for name in outcome.sources
]


@pytest.mark.parametrize(("row", "outcome", "reboots", "name"), OUTCOMES, ids=[row[-1] for row in OUTCOMES])
def test_a_recording(row: Arrival, outcome: Outcome, reboots: bool, name: str) -> None:
    """The recordings that a cell names are of its kernel and processor, and have as much of a panic as it says."""
    recorded = RECORDED[name]
    debian, version = name.split("-")[:2]
    assert version.removesuffix("rt") in row.kernels
    assert machine_of(f"x-{debian}") in row.machines
    assert recorded["release"] is None or recorded["release"].startswith(f"{version.removesuffix('rt')}.")
    last = recorded["reboots" if reboots else "ends"]
    if outcome.arrives == ALL:
        assert last == recorded["panics"] > 0
    elif outcome.arrives == PART:
        assert recorded["panics"] > last == 0
    else:
        assert recorded["panics"] == last == 0


@pytest.mark.skipif(not CAPTURES.is_dir(), reason="the whole recordings are not here")
def test_the_whole_recordings() -> None:
    """The numbers in the repository are those of the whole recordings, where they are."""
    for name, recorded in RECORDED.items():
        (file,) = CAPTURES.glob(f"**/{name}.jsonl")
        stream = Stream(source(), WorkerCounters(), 0.2)
        messages: list[Message] = []
        for line in file.read_text().splitlines():
            row = json.loads(line)
            stream.feed(row["data"].encode("latin-1"), row["t"], row["t"], messages)
        stream.flush(messages)
        begins = {"panics": "Kernel panic - not syncing", "ends": "---[ end Kernel panic", "reboots": "Rebooting in "}
        texts = [
            message.text for message in messages if not (isinstance(message, ExtendedMessage) and message.replayed)
        ]
        found = {key: sum(text.startswith(begin) for text in texts) for key, begin in begins.items()}
        assert found == {key: recorded[key] for key in begins}, name


def test_each_recording_is_used() -> None:
    """The data have no other recordings."""
    assert set(RECORDED) == {row[-1] for row in OUTCOMES}


def test_the_table_of_the_docs() -> None:
    """The table in docs/clients is made from this one (``python -m tests.support.arrival_table``)."""
    assert table() in PAGE.read_text()


@pytest.mark.parametrize(
    ("release", "machine", "stays", "reboots"),
    [
        ("7.3.4+deb13-amd64", "x86_64", ALL, NOTHING),
        ("7.3.4", None, ALL, NOTHING),
        # Not measured: as the nearest version, and as most processors.
        ("7.0.0-generic", "x86_64", ALL, NOTHING),
        ("7.9.1", "loongarch64", ALL, NOTHING),
        ("7.3.0", "s390x", NOTHING, NOTHING),
        ("6.8.0-45-generic", "x86_64", ALL, ALL),
        ("6.12.117", "aarch64", ALL, ALL),
        ("6.1.0-50-s390x", "s390x", PART, None),
        ("5.15.0", "x86_64", ALL, ALL),
        ("8.0.0", "x86_64", None, None),
        ("4.19.0", "x86_64", None, None),
        ("", None, None, None),
        ("7", None, None, None),
        ("99999999999999999999.1", None, None, None),
    ],
)
def test_answers(release: str, machine: str | None, stays: str | None, reboots: str | None) -> None:
    """Measured kernels and processors have their row; others the nearest one of the same major version."""
    assert arrives(release, machine, False) == stays
    assert arrives(release, machine, True) == reboots


@pytest.mark.parametrize(
    ("text", "machine"),
    [
        ("6.12.117+deb13-rt-amd64", "x86_64"),
        ("6.12.9-200.fc41.aarch64", "aarch64"),
        ("7.2.13+deb14-powerpc64le", "ppc64le"),
        ("6.12.117+deb13-armmp-lpae", "armv7l"),
        ("Linux version 6.12.9 (x86_64-linux-gnu-gcc-14 (Debian 14.2.0-19) 14.2.0)", "x86_64"),
        ("Linux version 6.6.1 (arm-linux-gnueabihf-gcc 12)", "armv7l"),
        ("6.8.0-45-generic", None),
        ("6.8.0-swarm64", None),
    ],
)
def test_processors(text: str, machine: str | None) -> None:
    """Releases and compilers name the processor."""
    assert machine_of(text) == machine


def test_words() -> None:
    """An explanation is given only where nothing can have arrived."""
    assert explanation("7.3.4", None, 5) == "this kernel sends none with panic=5"
    assert explanation("7.3.4", None, None) == "this kernel sends none unless panic=0"
    assert explanation("7.2.1-s390x", None, 0) == "this kernel sends none on s390x"
    for release, panic in ((None, 5), ("7.3.4", 0), ("6.12.1", 5), ("8.0", 5)):
        assert explanation(release, None, panic) == ""


def test_conditions_are_no_answers() -> None:
    """Rows with a further condition are for readers: they answer nothing else."""
    assert [row.stays for row in ARRIVALS if row.condition == KDUMP and row.kernels == ("7.3",)] != [None]
    assert arrives("7.3.4", "x86_64", False) == ALL
