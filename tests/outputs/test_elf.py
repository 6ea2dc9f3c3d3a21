"""Files that are no shared objects of this machine are refused before the linker maps them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from netconsd.outputs.elf import fault
from tests.support.compilers import compiled, needs_cc

pytestmark = needs_cc


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A shared object of this machine."""
    directory = tmp_path_factory.mktemp("elf")
    source = directory / "good.c"
    source.write_text("void netconsd_output_handler(void) {}")
    return compiled(source, directory).read_bytes()


def without_sections(data: bytes) -> bytes:
    """Return a shared object whose header names no section headers, as those of sstrip."""
    at, size = (40, 8) if sys.maxsize > 2**32 else (32, 4)
    return data[:at] + bytes(size) + data[at + size :]


def of(directory: Path, data: bytes) -> str | None:
    """The fault of a file with these bytes."""
    path = directory / "x.so"
    path.write_bytes(data)
    return fault(path)


def test_a_shared_object(good: bytes, tmp_path: Path) -> None:
    """A shared object of this machine has no fault, also if the section headers were removed (sstrip)."""
    assert of(tmp_path, good) is None
    assert of(tmp_path, without_sections(good)) is None


def test_every_truncation(good: bytes, tmp_path: Path) -> None:
    """A file is refused wherever it was cut."""
    lengths = [*range(64), *range(64, len(good), 97), len(good) - 1]
    assert [length for length in lengths if of(tmp_path, good[:length]) is None] == []
    assert str(of(tmp_path, good[:-1])).startswith(f"is truncated: it has {len(good) - 1} bytes of {len(good)} or more")


def test_segments_beyond_the_end(good: bytes, tmp_path: Path) -> None:
    """Without section headers, a file that was cut within a segment is truncated."""
    assert str(of(tmp_path, without_sections(good)[: len(good) // 4])).startswith("is truncated: ")


@pytest.mark.parametrize(
    ("at", "value", "text"),
    [
        (0, 0, "is not a shared object: compile it"),
        (4, 9, "is damaged or truncated"),
        (5, 9, "is damaged or truncated"),
        (16, 1, "is not a shared object but an object file"),
        (16, 2, "is not a shared object but a program"),
        (18, 8, "was compiled for mips ("),
    ],
)
@pytest.mark.skipif(sys.byteorder == "big", reason="the offsets are those of the low bytes")
def test_foreign_files(good: bytes, tmp_path: Path, at: int, value: int, text: str) -> None:
    """A file of another kind, or for another machine, is refused with a text."""
    assert str(of(tmp_path, good[:at] + bytes([value]) + good[at + 1 :])).startswith(text)


def test_damaged_headers(good: bytes, tmp_path: Path) -> None:
    """A file with any single byte of its header changed is refused or accepted, and nothing is raised."""
    for at in range(64):
        of(tmp_path, good[:at] + bytes([good[at] ^ 0xFF]) + good[at + 1 :])


def test_a_fifo(tmp_path: Path) -> None:
    """A FIFO is refused at once, although it has no writer."""
    path = tmp_path / "x.so"
    os.mkfifo(path)
    assert fault(path) == "is not a regular file"


def test_without_the_running_program(good: bytes, tmp_path: Path) -> None:
    """If the running program cannot be read, as without /proc, only the file itself is checked."""
    path = tmp_path / "x.so"
    path.write_bytes(good)
    assert fault(path, running=tmp_path / "gone") is None
