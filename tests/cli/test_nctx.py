"""nctx: what it sends, whom it hears, what it says; its options."""

from __future__ import annotations

import errno
import socket
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from netconsd.cli.nctx import Shipment, main
from netconsd.protocol.stream import NEVER
from netconsd.send.kmsg import Kmsg
from netconsd.send.reliable import ANSWER_SECONDS, ReliableSender
from netconsd.testing import extended
from tests.support.loopback import needs_ipv6


class Wire:
    """In place of a socket: keeps what is sent, or fails; what is put in ``answers`` is received."""

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
    """A shipment from a file in a time that the test moves."""

    there = ("192.0.2.9", 1514)

    def __init__(self, path: Path, count: int, *, slots: int = 100) -> None:
        path.write_bytes(b"".join(extended(str(seq), seq=seq) for seq in range(1, count + 1)))
        self.now = 0.0
        self.wire = Wire()
        self.said: list[str] = []
        self.sender = ReliableSender(slots)
        self.kmsg = Kmsg(str(path))
        wire: Any = self.wire
        self.shipment = Shipment(
            self.kmsg, wire, self.there, self.sender, self.said.append, clock=lambda: self.now, wait=self.wait
        )
        self.timeouts: list[float | None] = []

    def wait(self, sources: list[Any], timeout: float | None) -> list[Any]:
        self.timeouts.append(timeout)
        return sources

    def turn(self, seconds: float = 0.0, *answers: tuple[bytes, Any] | OSError) -> None:
        self.now += seconds
        self.wire.answers += answers
        self.shipment.turn()

    @property
    def texts(self) -> list[bytes]:
        """The datagrams sent so far."""
        return [datagram for datagram, _ in self.wire.sent]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file for records."""
    return tmp_path / "kmsg"


def test_records_go_to_the_receiver_until_they_are_acknowledged(path: Path) -> None:
    """One goes first, then all; the file's end and the last acknowledgement are the end."""
    bench = Bench(path, 5)
    bench.turn()
    bench.turn(0.01, (b"ncrx1", bench.there))
    assert bench.wire.sent == [(extended(str(seq), seq=seq), bench.there) for seq in range(1, 6)]
    bench.wire.answers.append((b"ncrx5", bench.there))
    bench.shipment.run()
    assert len(bench.sender) == 0
    assert bench.said == []


@pytest.mark.parametrize("stranger", [("192.0.2.8", 1514), ("192.0.2.9", 1515)])
def test_strangers_are_not_heard(stranger: tuple[str, int], path: Path) -> None:
    """An acknowledgement counts only if it comes from the address and port that the records go to."""
    bench = Bench(path, 1)
    bench.turn()
    bench.turn()
    assert bench.texts == [extended("1", seq=1)]
    bench.turn(0.01, (b"ncrx1", stranger))
    assert len(bench.sender) == 1


def test_no_more_is_read_than_there_are_slots(path: Path) -> None:
    """While the ring is full the log is not read, so that the kernel keeps what we cannot."""
    bench = Bench(path, 1000, slots=10)
    for _ in range(5):
        bench.turn()
    assert len(bench.sender) == 10
    for seq in range(1, 1001):
        bench.turn(0.001, (b"ncrx%d" % seq, bench.there))
    bench.shipment.run()
    assert len(bench.texts) == 1000
    assert bench.sender.dropped == 0


@pytest.mark.parametrize("error", [errno.ENETUNREACH, errno.ECONNREFUSED, errno.EPERM])
def test_a_network_that_is_down_is_survived_and_told_once(error: int, path: Path) -> None:
    """Errors of the network are told when they begin and when they end, and the records go out then."""
    bench = Bench(path, 2)
    bench.wire.error = error
    bench.turn()
    bench.turn(0.3, OSError(error, "no"))
    bench.turn(0.3)
    assert len(bench.said) == 1
    assert bench.said[0].startswith("cannot send (")
    bench.wire.error = None
    bench.turn(0.3)
    assert bench.said[1:] == ["sending works again"]
    assert bench.texts == [extended("1", seq=1)]


def test_a_full_buffer_is_not_worth_a_word(path: Path) -> None:
    """Where the system has no room for a moment, the datagram is lost, and comes again."""
    bench = Bench(path, 1)
    bench.wire.error = errno.ENOBUFS
    bench.turn()
    bench.turn()
    assert bench.wire.refused == 1
    bench.wire.error = None
    bench.turn(0.3)
    assert bench.texts == [extended("1", seq=1)]
    assert bench.said == []


def test_an_emergency_is_told(path: Path) -> None:
    """When nobody answers for ten seconds, that is said with what to look at; and when somebody does."""
    bench = Bench(path, 3)
    bench.turn()
    bench.turn(ANSWER_SECONDS)
    assert len(bench.said) == 1
    assert "--acks" in bench.said[0]
    assert len(set(bench.texts)) >= 3
    bench.turn(1.0, (b"ncrx1", bench.there))
    assert bench.said[1:] == ["the receiver answers; sending all that it may not have"]


def test_what_is_no_record_is_told_once(path: Path) -> None:
    """Lines that are no records are left out, and that is said."""
    bench = Bench(path, 0)
    path.write_bytes(b"garbage\nmore\n" + extended("x", seq=1))
    for _ in range(3):
        bench.turn()
    assert [said for said in bench.said if "not one of the kernel's" in said] == bench.said
    assert len(bench.said) == 1
    assert bench.texts == [extended("x", seq=1)]


def test_records_that_are_pushed_out_are_told(path: Path) -> None:
    """In an emergency new records push out old ones; that is said once."""
    bench = Bench(path, 50, slots=10)
    bench.turn()
    bench.turn(ANSWER_SECONDS)
    for _ in range(20):
        bench.turn(0.1)
    assert bench.sender.dropped == 40
    assert [said for said in bench.said if "slots" in said] == bench.said[1:]
    assert extended("50", seq=50) in bench.texts


def test_an_overrun_is_told(path: Path) -> None:
    """Records that the kernel overwrote are told of."""
    bench = Bench(path, 1)
    bench.kmsg.overruns = 1
    bench.turn()
    bench.turn()
    assert [said for said in bench.said if "overwrote" in said] == bench.said
    assert len(bench.said) == 1


def test_at_rest_it_sleeps(path: Path) -> None:
    """Without anything to send or to wait for there is no timeout."""
    bench = Bench(path, 1)
    bench.turn()
    bench.turn()
    bench.turn(0.01, (b"ncrx1", bench.there))
    assert bench.sender.deadline == NEVER
    bench.turn()
    assert bench.timeouts[-1] is None


@pytest.mark.parametrize("address", ["127.0.0.1", pytest.param("::1", marks=needs_ipv6)])
def test_a_file_over_a_socket(address: str, path: Path) -> None:
    """A file without a record is sent at once, over either family, and the status is 0."""
    path.write_bytes(b"")
    assert main(["-k", str(path), address, "9"]) == 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["-k", "{path}", "localhost", "1514"], "nctx: 'localhost' is not an IPv4 or IPv6 address\n"),
        (["-k", "{path}.gone", "192.0.2.1", "1514"], "nctx: {path}.gone: No such file or directory\n"),
        (
            ["-p", "{busy}", "-k", "{path}", "127.0.0.1", "9"],
            "nctx: -p: port {busy} cannot be used: Address already in use\n",
        ),
    ],
)
def test_refusals(arguments: list[str], told: str, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What cannot be is one line that names what to change, and status 1."""
    path.write_bytes(b"")
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as busy:
        busy.bind(("0.0.0.0", 0))
        known = {"path": path, "busy": busy.getsockname()[1]}
        assert main([argument.format(**known) for argument in arguments]) == 1
    assert capsys.readouterr().err == told.format(**known)


@pytest.mark.parametrize("arguments", [["127.0.0.1", "0"], ["127.0.0.1", "x"], ["-n", "0", "127.0.0.1", "9"], []])
def test_bad_options(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A bad option ends with status 2 and says which."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "Traceback" not in capsys.readouterr().err
