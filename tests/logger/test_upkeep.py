"""Compression and deletion of log files: nothing is lost or doubled, and other files are not touched."""

from __future__ import annotations

import gzip
import os
import threading
from collections.abc import Callable
from errno import ENOSPC
from pathlib import Path
from typing import Any

import pytest

from netconsd.logger import compression, upkeep
from netconsd.logger.files import LogFiles
from netconsd.logger.rotation import Rotation
from netconsd.logger.upkeep import RECORD_LINES, Record, Upkeep
from netconsd.units import Duration, Size
from tests.support.loggers import A, B, batch, logged, logging

HOUR = 3600.0
NAME = "a.log"
TIMEOUT = 30


class Logs:
    """A directory with files of the names ``a.log`` and ``b.log``, and an upkeep without its thread."""

    def __init__(self, directory: Path, names: set[str] | None = None, **settings: Any) -> None:
        self.directory = directory
        rotation = Rotation(**{"bytes": 1, "keep": 9, **settings})
        self.files = LogFiles(str(directory), 8, rotation, 1, rotated=self.rotated)
        names = {NAME, "b.log"} if names is None else names
        self.upkeep = Upkeep(str(directory), self.files, rotation, lambda: names, clock=lambda: 0.0)

    def rotated(self, name: str) -> None:
        self.upkeep.rotated(name)

    def write(self, text: str, name: str = NAME) -> None:
        """Write a line, which rotates the file if it has one."""
        self.files.append(0, name, f"{text}\n".encode(), 1, 0.0)

    def put(self, name: str, text: str, age: float = 0.0) -> Path:
        """Make a file whose last line is of this many seconds before time 0 plus a day."""
        path = self.directory / name
        path.write_text(f"{text}\n")
        os.utime(path, (24 * HOUR - age, 24 * HOUR - age))
        return path

    def sweep(self) -> None:
        """Sweep at the time of a file of age 0."""
        self.upkeep.sweep(24 * HOUR)

    def found(self) -> dict[str, str]:
        """The content of each file, without compression and newlines."""
        return {path.name: content(path) for path in self.directory.iterdir()}


def content(path: Path) -> str:
    """Return the decompressed text of a file, without its last newline."""
    data = path.read_bytes()
    if path.suffix == ".gz":
        data = gzip.decompress(data)
    elif path.suffix == ".zst":
        data = pytest.importorskip("zstandard").ZstdDecompressor().decompressobj().decompress(data)
    return data.decode().removesuffix("\n")


@pytest.fixture(params=["gzip", "zstd"])
def compress(request: pytest.FixtureRequest) -> str:
    """Each compression."""
    kind: str = request.param
    try:
        compression.compressor(kind)
    except ModuleNotFoundError as error:
        pytest.skip(f"{error.name} is not installed")
    return kind


def test_rotated_files_are_compressed(tmp_path: Path, compress: str) -> None:
    """Rotated files are compressed, with the mode and the time of the original, and rotated on under their suffix."""
    logs = Logs(tmp_path, compress=compress, keep=3)
    suffix = {"gzip": ".gz", "zstd": ".zst"}[compress]
    for text in ("one", "two", "three", "four", "five"):
        logs.write(text)
        for path in tmp_path.glob("*.1"):
            path.chmod(0o600)
            os.utime(path, (7, 7))
        logs.upkeep.compress(NAME)
    assert logs.found() == {
        NAME: "five",
        f"{NAME}.1{suffix}": "four",
        f"{NAME}.2{suffix}": "three",
        f"{NAME}.3{suffix}": "two",
    }
    for path in tmp_path.glob(f"*{suffix}"):
        assert (path.stat().st_mode & 0o777, path.stat().st_mtime) == (0o600, 7)


def test_the_thread_compresses(tmp_path: Path) -> None:
    """A logger compresses what it rotated in a thread that is neither a worker's nor the reactor's."""
    threads = []
    done = threading.Event()
    replace: Callable[..., None] = Upkeep._replace

    def noting(self: Upkeep, *arguments: Any) -> None:
        replace(self, *arguments)
        threads.append(threading.current_thread().name)
        done.set()

    with pytest.MonkeyPatch.context() as context:
        context.setattr(Upkeep, "_replace", noting)
        with logging(tmp_path, rotate_bytes=Size(1), compress="gzip") as logger:
            logger.handle_batch(0, batch("one"))
            logger.handle_batch(0, batch("two"))
            assert done.wait(TIMEOUT)
    assert threads == ["logger files"]
    assert "one" in content(tmp_path / f"{A}.log.1.gz")
    assert all(thread.name != "logger files" for thread in threading.enumerate())


def test_a_file_that_is_rotated_while_it_is_compressed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The compressed copy takes the place of its original, whatever number the original has by then."""
    logs = Logs(tmp_path, compress="gzip")
    compress = compression.compress

    def meanwhile(*arguments: Any, **options: Any) -> bool:
        logs.write("three")
        return compress(*arguments, **options)

    logs.write("one")
    logs.write("two")
    with monkeypatch.context() as context:
        context.setattr(upkeep, "compress", meanwhile)
        logs.upkeep.compress(NAME)
    assert logs.found() == {NAME: "three", f"{NAME}.1": "two", f"{NAME}.2.gz": "one"}


def test_a_file_that_is_rotated_out_while_it_is_compressed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy whose original is gone is deleted."""
    logs = Logs(tmp_path, compress="gzip", keep=1)
    compress = compression.compress

    def meanwhile(*arguments: Any, **options: Any) -> bool:
        logs.write("three")
        return compress(*arguments, **options)

    logs.write("one")
    logs.write("two")
    with monkeypatch.context() as context:
        context.setattr(upkeep, "compress", meanwhile)
        logs.upkeep.compress(NAME)
    assert logs.found() == {NAME: "three", f"{NAME}.1": "two"}


@pytest.mark.parametrize("call", ["fsync", "rename", "unlink"])
def test_a_crash_during_a_compression(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """After a crash at any step, the next start has each line once: the copy is removed, or the original."""

    class CrashError(BaseException):
        pass

    def crash(*_: object) -> None:
        raise CrashError

    logs = Logs(tmp_path, compress="gzip")
    logs.write("one")
    logs.write("two")
    with monkeypatch.context() as context:
        context.setattr(os, call, crash)
        with pytest.raises(CrashError):
            logs.upkeep.compress(NAME)
    left = {"fsync": f".{NAME}.partial", "rename": f".{NAME}.partial", "unlink": f"{NAME}.1.gz"}[call]
    assert {path.name for path in tmp_path.iterdir()} == {NAME, f"{NAME}.1", left}
    Logs(tmp_path, compress="gzip").sweep()
    assert logs.found() == {NAME: "two", f"{NAME}.1.gz": "one"}


def test_leftovers_without_compression(tmp_path: Path) -> None:
    """Leftovers of a crash are removed also if compression was turned off since."""
    logs = Logs(tmp_path, keep_age=HOUR)
    logs.put(f"{NAME}.1", "one")
    (tmp_path / f"{NAME}.1.gz").write_bytes(gzip.compress(b"one\n"))
    logs.put(f".{NAME}.partial", "o")
    os.utime(tmp_path / f"{NAME}.1.gz", (24 * HOUR, 24 * HOUR))
    logs.sweep()
    assert logs.found() == {f"{NAME}.1.gz": "one"}


def test_a_full_disk_during_a_compression(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A compression that fails leaves the original, removes the copy, is logged once, and is done again later."""
    logs = Logs(tmp_path, compress="gzip")
    logs.write("one")
    logs.write("two")

    def full(fd: int) -> None:
        raise OSError(ENOSPC, os.strerror(ENOSPC))

    with logged() as texts, monkeypatch.context() as context:
        context.setattr(os, "fsync", full)
        logs.sweep()
        logs.sweep()
    assert logs.found() == {NAME: "two", f"{NAME}.1": "one"}
    assert [text.split(" (")[0] for text in texts] == [
        f"logger: cannot compress {tmp_path}/{NAME}.1: No space left on device"
    ]
    logs.sweep()
    assert logs.found() == {NAME: "two", f"{NAME}.1.gz": "one"}


def test_a_stop_during_a_compression(tmp_path: Path) -> None:
    """A stop does not wait for the rest of a large file: the copy is removed, and the original stays."""
    logs = Logs(tmp_path, compress="gzip")
    logs.write("one")
    logs.write("two")
    stopped = logs.upkeep._stopped

    class StopsLater:
        """Is set once a file was opened."""

        def is_set(self) -> bool:
            return stopped.is_set() or (tmp_path / f".{NAME}.partial").exists()

    logs.upkeep._stopped = StopsLater()  # type: ignore[assignment]
    logs.upkeep.compress(NAME)
    assert logs.found() == {NAME: "two", f"{NAME}.1": "one"}


def test_a_renamed_file_that_is_still_open_is_not_compressed(tmp_path: Path) -> None:
    """A file that logrotate renamed is compressed only after the logger has closed it: it may still get lines."""
    logs = Logs(tmp_path, compress="gzip")
    logs.write("one")
    (tmp_path / NAME).rename(tmp_path / f"{NAME}.1")
    logs.upkeep.compress(NAME)
    assert logs.found() == {f"{NAME}.1": "one"}
    logs.files.begin(1, 0.0)
    logs.upkeep.compress(NAME)
    assert logs.found() == {f"{NAME}.1.gz": "one"}


def test_bound_by_age(tmp_path: Path) -> None:
    """Files without a line for keep_age are deleted, those of silent senders as well; the log has their number."""
    logs = Logs(tmp_path, keep_age=2 * HOUR)
    logs.put(NAME, "loud")
    logs.put(f"{NAME}.1", "younger", 2 * HOUR - 1)
    logs.put(f"{NAME}.2", "older", 2 * HOUR + 1)
    logs.put("b.log", "silent", 3 * HOUR)
    with logged() as texts:
        logs.sweep()
    assert logs.found() == {NAME: "loud", f"{NAME}.1": "younger"}
    assert texts == ["logger: 2 files deleted by keep_age"]


def test_bound_by_size(tmp_path: Path) -> None:
    """The files written least recently, those of silent senders as well, are deleted until the rest is not larger."""
    logs = Logs(tmp_path, keep_size=12)
    logs.put("b.log", "silent", 9)
    logs.put(f"{NAME}.2", "three", 3)
    logs.put(f"{NAME}.1", "seven", 2)
    logs.put(NAME, "eight", 1)
    with logged() as texts:
        logs.sweep()
    assert logs.found() == {NAME: "eight", f"{NAME}.1": "seven"}
    assert texts == ["logger: 2 files deleted by keep_size"]


def test_the_file_written_last_stays(tmp_path: Path) -> None:
    """A single batch above the bound is not deleted."""
    logs = Logs(tmp_path, keep_size=2)
    logs.put(NAME, "large")
    logs.sweep()
    assert logs.found() == {NAME: "large"}


def test_an_open_file_is_deleted(tmp_path: Path) -> None:
    """The file of a sender that was silent is deleted although it is open; its next line makes a new file at once."""
    logs = Logs(tmp_path, bytes=0, keep_age=HOUR)
    logs.write("old")
    os.utime(tmp_path / NAME, (0, 0))
    logs.sweep()
    assert logs.found() == {}
    logs.write("new")
    assert logs.found() == {NAME: "new"}
    assert logs.files.dropped == [0]


def test_a_file_that_is_written_meanwhile_is_not_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that got a line after the search is not deleted."""
    logs = Logs(tmp_path, keep_age=HOUR)
    logs.put(NAME, "old", 3 * HOUR)
    delete = Upkeep._delete

    def late(self: Upkeep, found: Any, now: float) -> None:
        logs.put(NAME, "new")
        delete(self, found, now)

    monkeypatch.setattr(Upkeep, "_delete", late)
    logs.sweep()
    assert logs.found() == {NAME: "new"}


FOREIGN = [
    *(
        "other.log",
        "kern.log",
        "kern.log.1",
        f"{NAME}.old",
        f"{NAME}.1.bak",
        f"{NAME}.01",
        f"{NAME}.1001",
    ),
    *(".other.log.partial", "notes", f"x{NAME}", ".netconsd-other"),
]


@pytest.mark.parametrize("name", FOREIGN)
def test_foreign_files_stay(tmp_path: Path, name: str) -> None:
    """Files that the logger did not make are neither deleted nor compressed, however old and large they are."""
    logs = Logs(tmp_path, keep_age=HOUR, keep_size=1, compress="gzip")
    logs.put(name, "foreign", 9 * HOUR)
    logs.put(NAME, "ours")
    before = logs.found()
    logs.sweep()
    assert logs.found() == before


def test_links_and_directories_stay(tmp_path: Path) -> None:
    """A link or directory with the name of a log file is not deleted, and neither is the target of the link."""
    (tmp_path / "logs").mkdir()
    logs = Logs(tmp_path / "logs", keep_age=HOUR)
    target = tmp_path / "target"
    target.write_text("kept")
    os.utime(target, (0, 0))
    (tmp_path / "logs" / NAME).symlink_to(target)
    (tmp_path / "logs" / f"{NAME}.1").mkdir()
    os.utime(tmp_path / "logs" / f"{NAME}.1", (0, 0))
    logs.sweep()
    assert (tmp_path / "logs" / NAME).read_text() == "kept"
    assert (tmp_path / "logs" / f"{NAME}.1").is_dir()


def test_an_error_of_the_directory(tmp_path: Path) -> None:
    """A directory that cannot be read is logged once, and the upkeep goes on later."""
    logs = Logs(tmp_path / "logs", keep_age=HOUR)
    with logged() as texts:
        logs.sweep()
        logs.sweep()
    assert [text.split(" (")[0] for text in texts] == [
        f"logger: cannot tidy {tmp_path}/logs: No such file or directory"
    ]


def test_the_logger_records_its_files(tmp_path: Path) -> None:
    """The logger deletes the files that it made in any run; a file that was there before is not its own."""
    (tmp_path / f"{B}.log").write_text("foreign\n")
    settings: dict[str, Any] = {"rotate_bytes": Size(1 << 20), "keep_age": Duration("1h")}
    with logging(tmp_path, **settings) as logger:
        logger.handle_batch(0, batch("ours") + batch("both", address=B))
    names = Record(str(tmp_path), "logger").names()
    assert names == {f"{A}.log"}
    with logging(tmp_path, **settings) as logger:
        for address in (A, B):
            os.utime(tmp_path / f"{address}.log", (0, 0))
        assert logger._kept.upkeep is not None
        logger._kept.upkeep.sweep(24 * HOUR)
        assert {path.name for path in tmp_path.iterdir()} == {".netconsd-logger", f"{B}.log"}


def test_no_record_without_bounds(tmp_path: Path) -> None:
    """Without compression and bounds there is no record, and no thread."""
    with logging(tmp_path, rotate_bytes=Size(1)) as logger:
        logger.handle_batch(0, batch("text"))
        assert [path.name for path in tmp_path.iterdir()] == [f"{A}.log"]
        assert logger._kept.upkeep is None


def test_record(tmp_path: Path) -> None:
    """A record keeps each name once per run, survives a line that a full disk cut, and reads names of any language."""
    record = Record(str(tmp_path), "x")
    assert record.names() == set()
    for name in ("a", "b", "a", "\xfc"):
        record.add(name)
    path = tmp_path / ".netconsd-x"
    assert path.read_text().split("\n") == ["", "a", "", "b", "", "\xfc", ""]
    path.write_text(path.read_text() + "cut")
    record = Record(str(tmp_path), "x")
    assert record.names() == {"a", "b", "\xfc"}
    record.add("c")
    assert "c" in Record(str(tmp_path), "x").names()


def test_a_long_record_is_shortened(tmp_path: Path) -> None:
    """A record keeps the names that have files when more than half of its lines are of no use; a forgotten name can
    be added again."""
    record = Record(str(tmp_path), "x")
    (tmp_path / ".netconsd-x").write_text("".join(f"{number}\n" for number in range(RECORD_LINES)))
    record.shorten({"1"}.__contains__)
    assert len(record.names()) == RECORD_LINES
    record.add("new")
    record.shorten({"1", "2"}.__contains__)
    assert record.names() == {"1", "2"}
    record.add("new")
    assert record.names() == {"1", "2", "new"}


def test_a_name_that_cannot_be_recorded_is_not_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the record cannot be written, no file is made that would never be deleted; its lines are counted."""
    settings: dict[str, Any] = {"rotate_bytes": Size(1 << 20), "keep_age": Duration("1h")}
    with logging(tmp_path, **settings) as logger:
        (tmp_path / ".netconsd-logger").mkdir()
        with logged():
            logger.handle_batch(0, batch("dropped"))
        assert logger.dropped_by_error == 1
        (tmp_path / ".netconsd-logger").rmdir()
        logger.handle_batch(0, batch("text"))
        assert logger.dropped_by_error == 1
    assert Record(str(tmp_path), "logger").names() == {f"{A}.log"}


def test_zstd_without_its_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a library for Zstandard the start fails with the error that names the package."""
    monkeypatch.setitem(__import__("sys").modules, "compression.zstd", None)
    monkeypatch.setitem(__import__("sys").modules, "zstandard", None)
    with pytest.raises(ModuleNotFoundError) as caught, logging(tmp_path, rotate_bytes=Size(1), compress="zstd"):
        pass
    assert caught.value.name == "zstandard"
