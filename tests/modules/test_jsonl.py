"""The module jsonl: lines to standard output or to a file with rotation."""

from __future__ import annotations

import gzip
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from zope.interface.verify import verifyObject

from modules.jsonl import Jsonl
from modules.printer import Printer
from netconsd.interfaces import IBatchOutputModule, ICountsLosses, ICountsUnknownLosses, IReloadable
from netconsd.jsonl import from_json, json_lines
from netconsd.testing import extended_message
from netconsd.units import Duration, Size
from tests.support.loggers import batch, logged


def read(path: Path) -> list[str]:
    """Return the texts of the messages of a file."""
    return [from_json(line).text for line in path.read_bytes().splitlines()]


def started(**settings: Any) -> Jsonl:
    """Return a started module of two workers."""
    module = Jsonl(**settings)
    module.start(2)
    return module


@pytest.fixture
def output(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A file that is the standard output of the process."""
    path = tmp_path / "stdout"
    with path.open("w") as stream:
        monkeypatch.setattr(sys, "__stdout__", stream)
        yield path


def test_interfaces(tmp_path: Path) -> None:
    """The module provides batches, a reload, and both counts of losses."""
    module = Jsonl(file=tmp_path / "x")
    for interface in (IBatchOutputModule, IReloadable, ICountsLosses, ICountsUnknownLosses):
        verifyObject(interface, module)
    assert list(tmp_path.iterdir()) == []


def test_standard_output(output: Path) -> None:
    """Without a file, the lines are on standard output, one write per batch."""
    module = started()
    messages = [extended_message("one", userdata={"rack": "r17"}), extended_message("two\x1b")]
    module.handle_batch(1, messages)
    module.stop()
    assert output.read_bytes() == json_lines(messages)
    assert [module.lost(0), module.unknown_losses(1)] == [0, 0]


def test_no_standard_output(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a file and a standard output, the start fails and names the setting."""
    monkeypatch.setattr(sys, "__stdout__", None)
    with pytest.raises(RuntimeError, match=r"set a file \(jsonl\.file\)"):
        started()


def test_discarded_output(monkeypatch: pytest.MonkeyPatch) -> None:
    """A standard output that is /dev/null, as in the background, is logged at the start."""
    with open(os.devnull, "w") as stream:
        monkeypatch.setattr(sys, "__stdout__", stream)
        with logged() as texts:
            module = started()
        module.stop()
    assert len(texts) == 1
    assert "jsonl.file" in texts[0]


@pytest.mark.usefixtures("output")
def test_one_module_on_standard_output(tmp_path: Path) -> None:
    """The printer and jsonl do not share standard output: the second one does not start, and says what to do. After
    the first one's stop, and with a file, it does."""
    printer = Printer()
    printer.start(1)
    with pytest.raises(RuntimeError, match=r"the module printer already writes to standard output; .*jsonl\.file"):
        started()
    started(file=tmp_path / "x").stop()
    printer.stop()
    module = started()
    with pytest.raises(RuntimeError, match="the module jsonl already writes"):
        printer.start(1)
    module.stop()


def test_write_error_of_standard_output(monkeypatch: pytest.MonkeyPatch) -> None:
    """A write error of standard output is raised, so that the daemon counts the messages."""
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as stream:
        monkeypatch.setattr(sys, "__stdout__", stream)
        module = started()
        with pytest.raises(BrokenPipeError):
            module.handle_batch(0, batch("lost"))
        module.stop()


def test_file(tmp_path: Path) -> None:
    """A file gets the lines of all workers, in a directory that is made; it is appended to, and reopened on SIGHUP."""
    path = tmp_path / "made" / "messages.jsonl"
    module = started(file=path)
    module.handle_batch(0, batch("one"))
    module.handle_batch(1, batch("two"))
    path.rename(tmp_path / "old")
    module.reload()
    module.handle_batch(0, batch("three"))
    module.stop()
    started(file=path).stop()
    assert read(tmp_path / "old") == ["one", "two"]
    assert read(path) == ["three"]


def test_relative_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative file is relative to the working directory of the constructor."""
    monkeypatch.chdir(tmp_path)
    module = Jsonl(file=Path("x"))
    monkeypatch.chdir("/")
    module.start(1)
    module.stop()
    assert (tmp_path / "x").exists()


def test_rotation_and_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is rotated and compressed, and old files are deleted, but no other file of the directory."""
    # Its thread would sweep at the same time, by the system's clock.
    monkeypatch.setattr("netconsd.logger.upkeep.Upkeep.start", lambda upkeep: None)
    foreign = tmp_path / "other.jsonl.1"
    foreign.write_text("x")
    os.utime(foreign, (0, 0))
    module = started(file=tmp_path / "x", rotate_bytes=Size(1), compress="gzip", keep_age=Duration("1h"))
    module.handle_batch(0, batch("one"))
    module.handle_batch(0, batch("two"))
    assert module._kept is not None
    upkeep = module._kept.upkeep
    assert upkeep is not None
    upkeep.sweep(0.0)
    assert from_json(gzip.decompress((tmp_path / "x.1.gz").read_bytes())).text == "one"
    os.utime(tmp_path / "x.1.gz", (0, 0))
    upkeep.sweep((tmp_path / "x").stat().st_mtime)
    module.stop()
    assert {path.name for path in tmp_path.iterdir()} == {"x", "other.jsonl.1"}


def test_losses(tmp_path: Path) -> None:
    """Lines that cannot be written are counted for their worker."""
    module = started(file=tmp_path / "x")
    (tmp_path / "x").unlink()
    os.mkfifo(tmp_path / "x")
    module.reload()
    with logged() as texts:
        module.handle_batch(1, batch("a", "b"))
        module.stop()
    assert [module.lost(worker) for worker in (0, 1)] == [0, 2]
    assert texts[0].startswith(f"jsonl: cannot write {tmp_path}/x: it is a FIFO")


@pytest.mark.parametrize("kind", ["FIFO", "directory"])
def test_a_start_without_a_file(tmp_path: Path, kind: str) -> None:
    """A path that is no file stops the start, with a text that names setting, path and kind."""
    path = tmp_path / "x"
    if kind == "FIFO":
        os.mkfifo(path)
    else:
        path.mkdir()
    with pytest.raises(RuntimeError, match=f"^file: cannot write {path}: .*{kind}"):
        started(file=path)


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"rotate_bytes": Size(1)}, "rotate_bytes: needs a file"),
        ({"rotate_every": Duration("1d")}, "rotate_every: needs a file"),
        ({"file": Path("/tmp") / ("x" * 201)}, "file: .* is longer than 200 bytes"),
        ({"file": Path("/tmp/x"), "rotate_keep": 0}, "rotate_keep: 0 is less than 1"),
    ],
)
def test_settings_out_of_range(settings: dict[str, Any], error: str) -> None:
    """A setting that is out of range, or without effect, is an error that names it."""
    with pytest.raises(ValueError, match=f"^{error}"):
        Jsonl(**settings)
