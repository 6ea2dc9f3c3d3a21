"""The logger's rotation: by size and by time, of files that several workers share, and of files that vanish."""

from __future__ import annotations

import gzip
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from modules.logger import Logger
from netconsd.logger.files import CHECK_SECONDS
from netconsd.logger.lines import log_lines
from netconsd.logger.rotation import KEEP_LIMIT, Rotation, checked_rotation, shift, split
from netconsd.names import Names
from netconsd.units import Duration, Size
from tests.support.loggers import A, B, Contended, batch, files, lines, logged, logging

TIMEOUT = 30
DAY = 86_400.0
#: 2026-11-28 00:00 UTC, a Saturday.
MIDNIGHT = 1_795_824_000.0


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """The directory of the files."""
    return tmp_path / "logs"


@pytest.fixture
def shared(tmp_path: Path) -> Names:
    """A file of names that gives two addresses one file, web1.log."""
    hosts = tmp_path / "hosts"
    hosts.write_text(f"{A} web1\n{B} web1\n")
    return Names(hosts_file=hosts)


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"rotate_every": Duration("59m")}, "rotate_every: 59m is not from 1h to 366d"),
        ({"rotate_every": Duration("367d")}, "rotate_every: 367d is not from 1h to 366d"),
        ({"rotate_keep": KEEP_LIMIT + 1}, "rotate_keep: 1001 is more than 1000"),
        ({"compress": "gzip"}, 'compress: "gzip" needs rotate_bytes or rotate_every'),
        ({"keep_age": Duration("59m"), "rotate_every": Duration("1d")}, "keep_age: 59m is less than 1h"),
        ({"keep_age": Duration("14d")}, "keep_age: needs rotate_bytes or rotate_every"),
        ({"keep_size": Size("1G")}, "keep_size: needs rotate_bytes"),
        ({"keep_size": Size("1M"), "rotate_bytes": Size("64M")}, "keep_size: 1M is less than rotate_bytes, 64M"),
    ],
)
def test_settings_out_of_range(tmp_path: Path, settings: dict[str, Any], error: str) -> None:
    """A setting that is out of range, or that has no effect without another one, is an error that names it."""
    with pytest.raises(ValueError, match=f"^{error}"):
        Logger(directory=tmp_path, **settings)


@pytest.mark.parametrize(
    ("every", "begin", "end"),
    [
        ("1h", MIDNIGHT + 3600, MIDNIGHT + 7200),
        ("1d", MIDNIGHT, MIDNIGHT + DAY),
        ("1w", MIDNIGHT - 5 * DAY, MIDNIGHT + 2 * DAY),
    ],
)
def test_periods(every: str, begin: float, end: float) -> None:
    """An hour begins with the hour, a day at midnight and a week on Monday, in UTC."""
    assert Rotation(every=Duration(every)).period(MIDNIGHT + 5000) == (begin, end)


def test_keep_without_a_number() -> None:
    """Without rotate_keep, five rotated files are kept; with another bound, as many as there can be."""

    def keep(**bounds: Any) -> int:
        settings = {"rotate_every": None, "keep_age": None, "keep_size": None, **bounds}
        return checked_rotation(rotate_bytes=1, rotate_keep=None, compress="no", **settings).keep

    assert keep() == 5
    assert keep(keep_age=Duration("14d")) == keep(keep_size=Size("1G")) == KEEP_LIMIT


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("a.log", ("a.log", 0, "")),
        ("a.log.1", ("a.log", 1, "")),
        ("a.log.12.zst", ("a.log", 12, ".zst")),
        ("a.log.1000.gz", ("a.log", 1000, ".gz")),
        ("a.log.1001", ("a.log.1001", 0, "")),
        ("a.log.0", ("a.log.0", 0, "")),
        ("a.log.01", ("a.log.01", 0, "")),
        ("a.log.x", ("a.log.x", 0, "")),
        ("a.log.\N{SUPERSCRIPT TWO}", ("a.log.\N{SUPERSCRIPT TWO}", 0, "")),
        ("a.log.gz", ("a.log.gz", 0, "")),
        (".1", (".1", 0, "")),
    ],
)
def test_names_of_rotated_files(name: str, parts: tuple[str, int, str]) -> None:
    """Only a name with a number as rotation gives it, and a suffix of compression, is that of a rotated file."""
    assert split(name) == parts


def test_shift_stops_at_a_gap(tmp_path: Path) -> None:
    """Files are renamed up to the first free number, compressed or not; the oldest is overwritten by any suffix."""
    for name in ("x", "x.1", "x.2.gz", "x.4.zst", "x.5"):
        (tmp_path / name).write_text(name)
    shift(str(tmp_path / "x"), 5)
    (tmp_path / "x").write_text("new")
    found = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert found == {"x": "new", "x.1": "x", "x.2": "x.1", "x.3.gz": "x.2.gz", "x.4.zst": "x.4.zst", "x.5": "x.5"}
    shift(str(tmp_path / "x"), 5)
    found = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert found == {"x.1": "new", "x.2": "x", "x.3": "x.1", "x.4.gz": "x.2.gz", "x.5.zst": "x.4.zst"}


def test_rotation_by_time(logs: Path) -> None:
    """A file has lines of one day; the next day's first line begins a new file, also after a restart."""
    with logging(logs, rotate_every=Duration("1d")) as logger:
        logger.handle_batch(0, batch("one", at=MIDNIGHT - 1))
        logger.handle_batch(0, batch("two", at=MIDNIGHT))
        logger.handle_batch(0, batch("three", at=MIDNIGHT + 1))
    assert files(logs) == {f"{A}.log.1": ["one"], f"{A}.log": ["two", "three"]}
    os.utime(logs / f"{A}.log", (MIDNIGHT + 1, MIDNIGHT + 1))
    with logging(logs, rotate_every=Duration("1d")) as logger:
        logger.handle_batch(0, batch("four", at=MIDNIGHT + DAY + 9))
    assert files(logs) == {f"{A}.log.2": ["one"], f"{A}.log.1": ["two", "three"], f"{A}.log": ["four"]}


def test_a_worker_that_is_behind_does_not_rotate_again(logs: Path, shared: Names) -> None:
    """A late line of the day before, from another worker, is written to the new file, which stays."""
    with logging(logs, worker_count=2, names=shared, name="{host}.log", rotate_every=Duration("1d")) as logger:
        logger.handle_batch(0, batch("old", at=MIDNIGHT - 2))
        logger.handle_batch(0, batch("new", at=MIDNIGHT + 1))
        logger.handle_batch(1, batch("late", address=B, at=MIDNIGHT - 1))
        logger.handle_batch(0, batch("newer", at=MIDNIGHT + 2))
    assert files(logs) == {"web1.log.1": ["old"], "web1.log": ["new", "late", "newer"]}


def test_a_clock_that_was_far_ahead(logs: Path) -> None:
    """A file of a time that is far in the future does not stop the rotation after the clock was corrected."""
    with logging(logs, rotate_every=Duration("1d")) as logger:
        logger.handle_batch(0, batch("ahead", at=MIDNIGHT + 900 * DAY))
        for day in range(2):
            logger.handle_batch(0, batch(str(day), at=MIDNIGHT + day * DAY))
    assert files(logs) == {f"{A}.log.2": ["ahead"], f"{A}.log.1": ["0"], f"{A}.log": ["1"]}


def test_no_line_is_written_to_a_renamed_file(logs: Path, shared: Names) -> None:
    """After one worker rotated a file, the other worker's next line is in the new file, and not in the renamed one,
    which may be deleted next."""
    size = Size(len(log_lines(batch("0", "1"))))
    with logging(logs, worker_count=2, names=shared, name="{host}.log", rotate_bytes=size, rotate_keep=1) as logger:
        logger.handle_batch(1, batch("0", address=B))
        logger.handle_batch(0, batch("1"))
        logger.handle_batch(0, batch("2"))
        logger.handle_batch(1, batch("3", address=B))
        assert files(logs) == {"web1.log.1": ["0", "1"], "web1.log": ["2", "3"]}


def test_no_rotation_while_another_worker_writes(logs: Path, shared: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that wants to rotate a file waits until the write of another worker has ended."""
    waited = threading.Event()
    monkeypatch.setattr("netconsd.logger.append.threading", SimpleNamespace(Lock=lambda: Contended(waited)))
    size = Size(len(log_lines(batch("first"))))
    with logging(logs, worker_count=2, names=shared, name="{host}.log", rotate_bytes=size) as logger:

        def write() -> None:
            logger.handle_batch(1, batch("third", address=B))
            waited.set()

        second = threading.Thread(target=write)
        write_now = os.write

        def meanwhile(fd: int, data: bytes) -> int:
            if second.ident is None:
                second.start()
                assert waited.wait(TIMEOUT)
                assert [path.name for path in logs.iterdir()] == ["web1.log"]
            return write_now(fd, data)

        monkeypatch.setattr(os, "write", meanwhile)
        logger.handle_batch(0, batch("first"))
        second.join(TIMEOUT)
    assert files(logs) == {"web1.log.1": ["first"], "web1.log": ["third"]}


def test_a_file_is_evicted_while_another_worker_writes_it(
    logs: Path, shared: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that one worker closes to make room is closed after the other worker's write, and no line is dropped."""
    waited = threading.Event()
    monkeypatch.setattr("netconsd.logger.append.threading", SimpleNamespace(Lock=lambda: Contended(waited)))
    with logging(logs, worker_count=2, name="{address}.log", max_open_files=1) as logger:

        def write() -> None:
            logger.handle_batch(1, batch("second", address=B))
            waited.set()

        second = threading.Thread(target=write)
        write_now = os.write

        def meanwhile(fd: int, data: bytes) -> int:
            if second.ident is None:
                second.start()
                assert waited.wait(TIMEOUT)
            return write_now(fd, data)

        monkeypatch.setattr(os, "write", meanwhile)
        logger.handle_batch(0, batch("first"))
        second.join(TIMEOUT)
        assert logger.dropped_by_error == 0
    assert files(logs) == {f"{A}.log": ["first"], f"{B}.log": ["second"]}


def test_renamed_directory(logs: Path, tmp_path: Path) -> None:
    """Within a second after the directory was renamed, the files are made again at its path, and the log says so once,
    whatever the number of files and workers. Nothing counts as lost."""
    with logging(logs, worker_count=2) as logger, logged() as texts:
        for worker, address in enumerate((A, B)):
            logger.handle_batch(worker, batch("old", address=address))
        logs.rename(tmp_path / "moved")
        for worker, address in enumerate((A, B)):
            logger.handle_batch(worker, batch("new", address=address, at=CHECK_SECONDS))
            logger.handle_batch(worker, batch("newer", address=address, at=2 * CHECK_SECONDS))
        assert logger.dropped_by_error == 0
    assert texts == [f"logger: {logs} was removed, renamed or mounted over; its files are opened again at this path"]
    assert files(tmp_path / "moved") == {f"{A}.log": ["old"], f"{B}.log": ["old"]}
    assert files(logs) == {f"{A}.log": ["new", "newer"], f"{B}.log": ["new", "newer"]}


def test_renamed_file(logs: Path) -> None:
    """A file that was renamed by hand, without SIGHUP, is made again within a second."""
    with logging(logs) as logger:
        logger.handle_batch(0, batch("old"))
        (logs / f"{A}.log").rename(logs / "old.log")
        logger.handle_batch(0, batch("new", at=CHECK_SECONDS))
    assert files(logs) == {"old.log": ["old"], f"{A}.log": ["new"]}


@pytest.fixture(params=["FIFO", "socket", "device", "directory"])
def obstacle(request: pytest.FixtureRequest, logs: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Something else than a regular file at the path of a log file; its name."""
    logs.mkdir()
    path = logs / f"{A}.log"
    kind: str = request.param
    if kind == "FIFO":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/full")
    elif kind == "directory":
        path.mkdir()
    if kind == "socket":
        # The path of a socket has at most 107 bytes.
        monkeypatch.chdir(logs)
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(path.name)
            yield kind
    else:
        yield kind


def test_other_kinds_of_files(obstacle: str, logs: Path) -> None:
    """A FIFO, a socket, a device or a directory in place of a file blocks nothing and is not rotated; its lines are
    dropped and counted, and one log line names the path and the kind. Other files are written."""
    with logging(logs, rotate_bytes=Size(1)) as logger, logged() as texts:
        for _ in range(2):
            logger.handle_batch(0, batch("dropped") + batch("text", address=B))
        assert logger.dropped_by_error == 2
        kind = "Is a directory" if obstacle == "directory" else f"it is a {obstacle}, not a regular file"
    assert texts[0].startswith(f"logger: cannot write {logs}/{A}.log: {kind} (logged once")
    assert lines(logs / f"{B}.log") == ["text"]
    assert not (logs / f"{A}.log.1").exists()


def test_rotated_files_of_both_kinds(logs: Path) -> None:
    """Compressed files of an earlier run take part in the rotation when compression is off."""
    logs.mkdir()
    (logs / f"{A}.log.1.gz").write_bytes(gzip.compress(b"old\n"))
    with logging(logs, rotate_bytes=Size(1), rotate_keep=2) as logger:
        logger.handle_batch(0, batch("one"))
        logger.handle_batch(0, batch("two"))
        assert gzip.decompress((logs / f"{A}.log.2.gz").read_bytes()) == b"old\n"
        logger.handle_batch(0, batch("three"))
    assert files(logs) == {f"{A}.log": ["three"], f"{A}.log.1": ["two"], f"{A}.log.2": ["one"]}


def test_another_file_at_the_path_is_not_rotated(logs: Path) -> None:
    """A full file that was replaced by hand within the last second is not renamed: the other file is continued."""
    size = Size(2 * len(log_lines(batch("old"))))
    with logging(logs, rotate_bytes=size) as logger:
        logger.handle_batch(0, batch("old", "old"))
        (logs / f"{A}.log").rename(logs / "moved")
        (logs / f"{A}.log").write_bytes(log_lines(batch("other")))
        logger.handle_batch(0, batch("new"))
    assert files(logs) == {"moved": ["old", "old"], f"{A}.log": ["other", "new"]}


def test_names_that_cannot_be_opened_take_no_places(logs: Path) -> None:
    """A file stays open whatever number of other files cannot be opened."""
    with logging(logs, max_open_files=2) as logger:
        logger.handle_batch(0, batch("one"))
        for host in range(4):
            (logs / f"10.0.0.{host}.log").mkdir()
        with logged():
            for host in range(4):
                logger.handle_batch(0, batch("dropped", address=f"10.0.0.{host}"))
        (logs / f"{A}.log").rename(logs / "still open")
        logger.handle_batch(0, batch("two"))
    assert lines(logs / "still open") == ["one", "two"]
