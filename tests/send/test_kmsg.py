"""Records of /dev/kmsg: one per read from the device, lines of a file or a pipe; overruns; no waiting."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from netconsd.send.kmsg import RECORDS_LIMIT, Kmsg

RECORDS = [b"6,%d,5,-;text %d\n SUBSYSTEM=usb\n DEVICE=+usb:1-1\n" % (seq, seq) for seq in range(3)]


class Device:
    """In place of the reads of /dev/kmsg: records, and errors where a number stands."""

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
    """A device with this script. (/dev/zero is one, and can be opened by everybody.)"""
    made: list[Kmsg] = []

    def make(*script: bytes | int) -> Kmsg:
        made.append(Kmsg("/dev/zero", read=Device(*script)))
        return made[-1]

    yield make
    for kmsg in made:
        kmsg.close()


def test_every_read_of_the_device_is_a_record(device: Callable[..., Kmsg]) -> None:
    """What one read brings is one record, lines and all; when nothing is there nothing is waited for."""
    kmsg = device(*RECORDS)
    assert kmsg.records(2) == RECORDS[:2]
    assert kmsg.records(100) == RECORDS[2:]
    assert kmsg.records(100) == []
    assert not kmsg.ended


def test_an_overrun_is_counted_and_survived(device: Callable[..., Kmsg]) -> None:
    """EPIPE says that records were overwritten: it is counted, and the next ones are read."""
    kmsg = device(errno.EPIPE, RECORDS[0], errno.EPIPE, RECORDS[1])
    assert kmsg.records(100) == RECORDS[:2]
    assert kmsg.overruns == 2


def test_a_record_that_is_too_long_is_left_out(device: Callable[..., Kmsg]) -> None:
    """EINVAL says that a record does not fit: the next ones are read."""
    assert device(RECORDS[0], errno.EINVAL, RECORDS[1]).records(100) == RECORDS[:2]


def test_errors_without_end_come_to_an_end(device: Callable[..., Kmsg]) -> None:
    """A device that only fails does not keep the caller, nor does one that always has more."""
    assert device(*[errno.EPIPE] * 10_000).records(10**6) == []
    assert len(device(*[RECORDS[0]] * 10_000).records(10**6)) == RECORDS_LIMIT


def test_other_errors_are_raised(device: Callable[..., Kmsg]) -> None:
    """What is no loss of records is for the caller."""
    with pytest.raises(OSError, match="Input/output"):
        device(errno.EIO).records(1)


def test_a_device_can_end(device: Callable[..., Kmsg]) -> None:
    """A read of nothing is the end."""
    kmsg = device(RECORDS[0], b"")
    assert kmsg.records(100) == RECORDS[:1]
    assert kmsg.ended


@pytest.mark.parametrize("size", [1, 2, 7, 64, 1000])
def test_a_file_is_read_by_lines(size: int, tmp_path: Path) -> None:
    """Lines that begin with a space belong to the record before, wherever the reads are cut; then it has ended."""
    path = tmp_path / "records"
    path.write_bytes(b"".join(RECORDS))
    kmsg = Kmsg(str(path), read=lambda fd, _: os.read(fd, size))
    found: list[bytes] = []
    while not kmsg.ended or kmsg.pending:
        found += kmsg.records(1)
    kmsg.close()
    assert found == RECORDS


def test_a_limit_is_kept(tmp_path: Path) -> None:
    """No more comes than was asked for; the rest waits."""
    path = tmp_path / "records"
    path.write_bytes(b"".join(RECORDS) * 1000)
    kmsg = Kmsg(str(path))
    assert [len(kmsg.records(limit)) for limit in (2, 1, 0, 500)] == [2, 1, 0, 500]
    assert kmsg.pending
    kmsg.close()


def test_a_pipe_never_ends(tmp_path: Path) -> None:
    """When the last writer of a named pipe goes, others may come; its last record is complete when nothing follows."""
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


def test_a_file_without_lines_is_not_gathered(tmp_path: Path) -> None:
    """A huge file that has no line is handed out in parts, for the sender to refuse."""
    path = tmp_path / "zeros"
    path.write_bytes(bytes(10**6))
    kmsg = Kmsg(str(path))
    sizes = []
    while not kmsg.ended or kmsg.pending:
        sizes += [len(record) for record in kmsg.records(10)]
    kmsg.close()
    assert sum(sizes) == 10**6
    assert max(sizes) <= 2 * 65536
