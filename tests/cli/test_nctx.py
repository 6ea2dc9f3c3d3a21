"""nctx: the records it sends, the answers it accepts, its reports and its options."""

from __future__ import annotations

import errno
import socket
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from netconsd.cli.nctx import LogSender, main
from netconsd.protocol.stream import NEVER
from netconsd.send.kmsg import Kmsg
from netconsd.send.reliable import ANSWER_SECONDS, ReliableSender
from netconsd.testing import extended
from tests.support.loopback import needs_ipv6


class Wire:
    """Replaces a socket: records the datagrams sent, or fails with ``error``; receives ``answers``."""

    def __init__(self) -> None:
        self.sent: list[tuple[bytes, Any]] = []
        self.answers: list[tuple[bytes, Any] | OSError] = []
        self.error: int | None = None
        self.refused = 0

    def sendto(self, datagram: bytes, address: Any) -> None:
        if self.error is not None:
            self.refused += 1
            raise OSError(self.error, "no")
        self.sent.append((datagram, address))

    def recvfrom(self, size: int) -> tuple[bytes, Any]:
        if not self.answers:
            raise BlockingIOError
        answer = self.answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer


class Bench:
    """A LogSender on a file, with a clock that the test moves."""

    there = ("192.0.2.9", 1514)

    def __init__(self, path: Path, count: int, *, slots: int = 100) -> None:
        path.write_bytes(b"".join(extended(str(seq), seq=seq) for seq in range(1, count + 1)))
        self.now = 0.0
        self.wire = Wire()
        self.reports: list[str] = []
        self.sender = ReliableSender(slots)
        self.kmsg = Kmsg(str(path))
        wire: Any = self.wire
        self.log_sender = LogSender(
            self.kmsg, wire, self.there, self.sender, self.reports.append, clock=lambda: self.now, wait=self.wait
        )
        self.timeouts: list[float | None] = []

    def wait(self, sources: list[Any], timeout: float | None) -> list[Any]:
        self.timeouts.append(timeout)
        return sources

    def turn(self, seconds: float = 0.0, *answers: tuple[bytes, Any] | OSError) -> None:
        self.now += seconds
        self.wire.answers += answers
        self.log_sender.turn()

    @property
    def texts(self) -> list[bytes]:
        """The datagrams sent so far."""
        return [datagram for datagram, _ in self.wire.sent]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file for records."""
    return tmp_path / "kmsg"


def test_records_are_sent_until_acknowledged(path: Path) -> None:
    """The first record is sent alone, then the others; ``run`` ends with the file and the last acknowledgement."""
    bench = Bench(path, 5)
    bench.turn()
    bench.turn(0.01, (b"ncrx1", bench.there))
    assert bench.wire.sent == [(extended(str(seq), seq=seq), bench.there) for seq in range(1, 6)]
    bench.wire.answers.append((b"ncrx5", bench.there))
    bench.log_sender.run()
    assert len(bench.sender) == 0
    assert bench.reports == []


@pytest.mark.parametrize("stranger", [("192.0.2.8", 1514), ("192.0.2.9", 1515)])
def test_strangers_are_ignored(stranger: tuple[str, int], path: Path) -> None:
    """An acknowledgement from another address or port is ignored."""
    bench = Bench(path, 1)
    bench.turn()
    bench.turn()
    assert bench.texts == [extended("1", seq=1)]
    bench.turn(0.01, (b"ncrx1", stranger))
    assert len(bench.sender) == 1


def test_full_slots(path: Path) -> None:
    """While all slots are in use the log is not read, so that the kernel keeps the records."""
    bench = Bench(path, 1000, slots=10)
    for _ in range(5):
        bench.turn()
    assert len(bench.sender) == 10
    for seq in range(1, 1001):
        bench.turn(0.001, (b"ncrx%d" % seq, bench.there))
    bench.log_sender.run()
    assert len(bench.texts) == 1000
    assert bench.sender.dropped == 0


@pytest.mark.parametrize("error", [errno.ENETUNREACH, errno.ECONNREFUSED, errno.EPERM])
def test_network_down(error: int, path: Path) -> None:
    """An error of the network is reported once at its start and once at its end; then the records are sent."""
    bench = Bench(path, 2)
    bench.wire.error = error
    bench.turn()
    bench.turn(0.3, OSError(error, "no"))
    bench.turn(0.3)
    assert len(bench.reports) == 1
    assert bench.reports[0].startswith("cannot send (")
    bench.wire.error = None
    bench.turn(0.3)
    assert bench.reports[1:] == ["sending works again"]
    assert bench.texts == [extended("1", seq=1)]


def test_full_buffer(path: Path) -> None:
    """A full send buffer is not reported; the record is sent again."""
    bench = Bench(path, 1)
    bench.wire.error = errno.ENOBUFS
    bench.turn()
    bench.turn()
    assert bench.wire.refused == 1
    bench.wire.error = None
    bench.turn(0.3)
    assert bench.texts == [extended("1", seq=1)]
    assert bench.reports == []


def test_emergency(path: Path) -> None:
    """The start and the end of an emergency are reported, the start with the causes to check."""
    bench = Bench(path, 3)
    bench.turn()
    bench.turn(ANSWER_SECONDS)
    assert len(bench.reports) == 1
    assert "--acks" in bench.reports[0]
    assert len(set(bench.texts)) >= 3
    bench.turn(1.0, (b"ncrx1", bench.there))
    assert bench.reports[1:] == ["the receiver answers; sending all unacknowledged records again"]


def test_malformed_records(path: Path) -> None:
    """Malformed lines are dropped, and reported once."""
    bench = Bench(path, 0)
    path.write_bytes(b"garbage\nmore\n" + extended("x", seq=1))
    for _ in range(3):
        bench.turn()
    assert [text for text in bench.reports if "malformed" in text] == bench.reports
    assert len(bench.reports) == 1
    assert bench.texts == [extended("x", seq=1)]


def test_dropped_records(path: Path) -> None:
    """In an emergency new records replace old ones, which is reported once."""
    bench = Bench(path, 50, slots=10)
    bench.turn()
    bench.turn(ANSWER_SECONDS)
    for _ in range(20):
        bench.turn(0.1)
    assert bench.sender.dropped == 40
    assert [text for text in bench.reports if "slots" in text] == bench.reports[1:]
    assert extended("50", seq=50) in bench.texts


def test_overrun(path: Path) -> None:
    """Records that the kernel overwrote are reported once."""
    bench = Bench(path, 1)
    bench.kmsg.overruns = 1
    bench.turn()
    bench.turn()
    assert [text for text in bench.reports if "overwrote" in text] == bench.reports
    assert len(bench.reports) == 1


def test_idle(path: Path) -> None:
    """Without records in flight there is no timeout."""
    bench = Bench(path, 1)
    bench.turn()
    bench.turn()
    bench.turn(0.01, (b"ncrx1", bench.there))
    assert bench.sender.deadline == NEVER
    bench.turn()
    assert bench.timeouts[-1] is None


@pytest.mark.parametrize("address", ["127.0.0.1", pytest.param("::1", marks=needs_ipv6)])
def test_empty_file(address: str, path: Path) -> None:
    """An empty file ends at once with status 0, over either family."""
    path.write_bytes(b"")
    assert main(["-k", str(path), address, "9"]) == 0


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["-k", "{path}", "localhost", "1514"], "nctx: 'localhost' is not an IPv4 or IPv6 address\n"),
        (["-k", "{path}.gone", "192.0.2.1", "1514"], "nctx: {path}.gone: No such file or directory\n"),
        (
            ["-p", "{busy}", "-k", "{path}", "127.0.0.1", "9"],
            "nctx: -p: port {busy} cannot be used: Address already in use\n",
        ),
    ],
)
def test_errors(arguments: list[str], error: str, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An error is one line that names the option, and status 1."""
    path.write_bytes(b"")
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as busy:
        busy.bind(("0.0.0.0", 0))
        values = {"path": path, "busy": busy.getsockname()[1]}
        assert main([argument.format(**values) for argument in arguments]) == 1
    assert capsys.readouterr().err == error.format(**values)


@pytest.mark.parametrize("arguments", [["127.0.0.1", "0"], ["127.0.0.1", "x"], ["-n", "0", "127.0.0.1", "9"], []])
def test_bad_options(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A bad option ends with status 2."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "Traceback" not in capsys.readouterr().err
