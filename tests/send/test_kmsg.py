"""Records of /dev/kmsg, of files and of pipes: one per read or line, overruns, errors, no blocking."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from netconsd.send.kmsg import RECORDS_LIMIT, Kmsg

RECORDS = [b"6,%d,5,-;text %d\n SUBSYSTEM=usb\n DEVICE=+usb:1-1\n" % (seq, seq) for seq in range(3)]


class Device:
    """Replaces read(2) of /dev/kmsg: returns records, and raises an OSError for a number."""

    def __init__(self, *script: bytes | int) -> None:
        self.script = list(script)

    def __call__(self, fd: int, size: int) -> bytes:
        if not self.script:
            raise BlockingIOError
        item = self.script.pop(0)
        if isinstance(item, int):
            raise OSError(item, os.strerror(item))
        assert len(item) <= size
        return item


@pytest.fixture
def device() -> Iterator[Callable[..., Kmsg]]:
    """Opens a device with a script of reads. (Every user can open the device /dev/zero.)"""
    opened: list[Kmsg] = []

    def make(*script: bytes | int) -> Kmsg:
        opened.append(Kmsg("/dev/zero", read=Device(*script)))
        return opened[-1]

    yield make
    for kmsg in opened:
        kmsg.close()


def test_device(device: Callable[..., Kmsg]) -> None:
    """One read is one record of any number of lines; without a record, ``records`` does not block."""
    kmsg = device(*RECORDS)
    assert kmsg.records(2) == RECORDS[:2]
    assert kmsg.records(100) == RECORDS[2:]
    assert kmsg.records(100) == []
    assert not kmsg.ended


def test_overrun(device: Callable[..., Kmsg]) -> None:
    """EPIPE means overwritten records: it is counted, and the next records are read."""
    kmsg = device(errno.EPIPE, RECORDS[0], errno.EPIPE, RECORDS[1])
    assert kmsg.records(100) == RECORDS[:2]
    assert kmsg.overruns == 2


def test_record_too_long(device: Callable[..., Kmsg]) -> None:
    """EINVAL means a record that does not fit: it is skipped."""
    assert device(RECORDS[0], errno.EINVAL, RECORDS[1]).records(100) == RECORDS[:2]


def test_bound_per_call(device: Callable[..., Kmsg]) -> None:
    """A call ends although the device always fails, or always has another record."""
    assert device(*[errno.EPIPE] * 10_000).records(10**6) == []
    assert len(device(*[RECORDS[0]] * 10_000).records(10**6)) == RECORDS_LIMIT


def test_other_errors(device: Callable[..., Kmsg]) -> None:
    """Errors other than lost records are raised."""
    with pytest.raises(OSError, match="Input/output"):
        device(errno.EIO).records(1)


def test_end_of_device(device: Callable[..., Kmsg]) -> None:
    """An empty read is the end."""
    kmsg = device(RECORDS[0], b"")
    assert kmsg.records(100) == RECORDS[:1]
    assert kmsg.ended


@pytest.mark.parametrize("size", [1, 2, 7, 64, 1000])
def test_file(size: int, tmp_path: Path) -> None:
    """Lines that begin with a space belong to the previous record, for any size of reads; then the file has ended."""
    path = tmp_path / "records"
    path.write_bytes(b"".join(RECORDS))
    kmsg = Kmsg(str(path), read=lambda fd, _: os.read(fd, size))
    records: list[bytes] = []
    while not kmsg.ended or kmsg.pending:
        records += kmsg.records(1)
    kmsg.close()
    assert records == RECORDS


def test_limit(tmp_path: Path) -> None:
    """At most ``limit`` records are returned; the others are pending."""
    path = tmp_path / "records"
    path.write_bytes(b"".join(RECORDS) * 1000)
    kmsg = Kmsg(str(path))
    assert [len(kmsg.records(limit)) for limit in (2, 1, 0, 500)] == [2, 1, 0, 500]
    assert kmsg.pending
    kmsg.close()


def test_pipe(tmp_path: Path) -> None:
    """A named pipe does not end with its last writer; its last record is complete when nothing follows."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    kmsg = Kmsg(str(path))
    assert kmsg.records(10) == []
    for record in RECORDS:
        path.write_bytes(record)
        assert kmsg.records(10) == []
        assert kmsg.pending
        assert kmsg.records(10) == [record]
        assert not kmsg.pending
    assert not kmsg.ended
    kmsg.close()


def test_file_without_lines(tmp_path: Path) -> None:
    """A large file without newlines is returned in bounded parts, which the sender refuses."""
    path = tmp_path / "zeros"
    path.write_bytes(bytes(10**6))
    kmsg = Kmsg(str(path))
    sizes = []
    while not kmsg.ended or kmsg.pending:
        sizes += [len(record) for record in kmsg.records(10)]
    kmsg.close()
    assert sum(sizes) == 10**6
    assert max(sizes) <= 2 * 65536
