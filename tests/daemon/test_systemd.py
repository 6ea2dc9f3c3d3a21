"""sd_notify and passed sockets, with an environment and sockets of the test's own."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from netconsd.daemon.systemd import MAX_FDS, Notifier, listening_sockets, passed_sockets
from netconsd.receive.sockets import describe, enlarge_rcvbuf, granted_rcvbuf
from netconsd.settings import ConfigError, Settings
from tests.support.daemons import daemon_log

PID = 77


def notifier(environment: Mapping[str, str]) -> Notifier:
    """One in a process with this environment."""
    return Notifier(environment, pid=lambda: PID, clock=lambda: 12.5)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Closes what a test opens."""
    with ExitStack() as opened:
        yield opened


def manager(stack: ExitStack, address: str) -> socket.socket:
    """What a service manager listens on."""
    listening = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
    listening.bind(address)
    listening.setblocking(False)
    return listening


@pytest.mark.parametrize("abstract", [False, True])
def test_what_is_told(tmp_path: Path, stack: ExitStack, abstract: bool) -> None:
    """Each state is one datagram of assignments, to a path or to an abstract name, which is written with @."""
    name = f"netconsd-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    listening = manager(stack, f"\0{name}" if abstract else name)
    told = notifier({"NOTIFY_SOCKET": f"@{name}" if abstract else name})
    told.ready("7 messages")
    told.reloading()
    told.stopping()
    told.alive("8 messages")
    told.unwell("stuck")
    assert [listening.recv(4096).decode().splitlines() for _ in range(5)] == [
        ["READY=1", "STATUS=7 messages"],
        ["RELOADING=1", "MONOTONIC_USEC=12500000", "STATUS=Reopening files"],
        ["STOPPING=1", "STATUS=Delivering what was received"],
        ["WATCHDOG=1", "STATUS=8 messages"],
        ["STATUS=stuck"],
    ]


@pytest.mark.parametrize("address", ["", "relative", "vsock:1:2", "/nowhere/at/all", "@nobody-listens-here"])
def test_nobody_to_tell(address: str) -> None:
    """Without a service manager, or with one that is gone, nothing happens."""
    notifier({"NOTIFY_SOCKET": address}).ready("")
    notifier({}).stopping()


def test_manager_that_does_not_read(tmp_path: Path, stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service manager whose socket is full does not hold us up for ever."""
    monkeypatch.setattr("netconsd.daemon.systemd.SEND_SECONDS", 0.01)
    manager(stack, str(tmp_path / "notify"))
    told = notifier({"NOTIFY_SOCKET": str(tmp_path / "notify")})
    limit = int(Path("/proc/sys/net/unix/max_dgram_qlen").read_text())
    for _ in range(min(limit, 1000) + 2):
        told.stopping()


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({"WATCHDOG_USEC": "2500000"}, 2.5),
        ({"WATCHDOG_USEC": "2500000", "WATCHDOG_PID": "77"}, 2.5),
        ({"WATCHDOG_USEC": "2500000", "WATCHDOG_PID": "78"}, 0.0),
        ({"WATCHDOG_USEC": "x"}, 0.0),
        ({"WATCHDOG_USEC": "-1"}, 0.0),
        ({"WATCHDOG_USEC": "\u0663"}, 0.0),
        ({}, 0.0),
        ({"WATCHDOG_USEC": "2500000", "NOTIFY_SOCKET": ""}, 0.0),
    ],
)
def test_watchdog(environment: dict[str, str], seconds: float) -> None:
    """The watchdog's time is taken if it is meant for this process, and can be."""
    assert notifier({"NOTIFY_SOCKET": "/x", **environment}).watchdog == seconds


def bound(stack: ExitStack, address: str = "127.0.0.1", kind: int = socket.SOCK_DGRAM) -> socket.socket:
    """A bound socket."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    made = stack.enter_context(socket.socket(family, kind))
    made.bind((address, 0))
    return made


def passed(stack: ExitStack, *sockets: socket.socket, **environment: str) -> list[socket.socket]:
    """What a process gets that these were passed to."""
    # Numbers in a row, as a service manager makes them, above all that this process has open.
    first = 500
    for number, each in enumerate(sockets, start=first):
        os.dup2(each.fileno(), number)
        stack.callback(_close, number)
    given = {"LISTEN_PID": str(PID), "LISTEN_FDS": str(len(sockets)), **environment}
    got = passed_sockets(given, pid=lambda: PID, first=first)
    for each in got:
        stack.enter_context(each)
    return got


def _close(fd: int) -> None:
    with suppress(OSError):
        os.close(fd)


def test_passed_sockets(stack: ExitStack) -> None:
    """Sockets of both families are taken over as they are bound, non-blocking and not inherited any further."""
    given = [bound(stack), bound(stack, "::1")]
    got = passed(stack, *given)
    assert [each.getsockname() for each in got] == [each.getsockname() for each in given]
    assert [each.family for each in got] == [socket.AF_INET, socket.AF_INET6]
    assert not any(each.getblocking() or each.get_inheritable() for each in got)


@pytest.mark.parametrize(
    "environment",
    [{"LISTEN_PID": "78"}, {"LISTEN_PID": ""}, {"LISTEN_FDS": "0"}, {"LISTEN_FDS": "x"}, {"LISTEN_FDS": "-1"}],
)
def test_nothing_passed_to_us(stack: ExitStack, environment: dict[str, str]) -> None:
    """What is for another process, or makes no sense, is nothing."""
    assert passed(stack, **{"LISTEN_FDS": "1", **environment}) == []


def test_passed_what_is_no_udp_socket(stack: ExitStack, tmp_path: Path) -> None:
    """A stream, a Unix socket, one that is not bound, a file or nothing is refused, and stays as it is."""
    unbound = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    for wrong in (bound(stack, kind=socket.SOCK_STREAM), manager(stack, str(tmp_path / "s")), unbound):
        with pytest.raises(ConfigError, match="the passed descriptor 500 is not a bound UDP socket"):
            passed(stack, wrong)
        os.fstat(500)
    with (tmp_path / "file").open("w") as file:
        os.dup2(file.fileno(), 500)
    with pytest.raises(ConfigError, match="ListenDatagram="):
        passed(stack, LISTEN_FDS="1")
    _close(500)
    with pytest.raises(ConfigError, match="Bad file descriptor"):
        passed(stack, LISTEN_FDS="1")


def test_too_many_sockets(stack: ExitStack) -> None:
    """A number beyond the bound is refused before anything is looked at."""
    with pytest.raises(ConfigError, match="more than 64"):
        passed(stack, LISTEN_FDS=str(MAX_FDS + 1))


def test_passed_sockets_are_listened_on(stack: ExitStack) -> None:
    """Passed sockets are taken instead of binding any, and the log says where they listen."""
    one = bound(stack)
    with daemon_log() as logged:
        assert listening_sockets(Settings(), passed=lambda: [one]) == [one]
    (line,) = logged()
    assert f"passed 1 socket(s): 127.0.0.1, UDP port {one.getsockname()[1]}; " in line


def test_without_passed_sockets_one_is_bound(stack: ExitStack) -> None:
    """Without passed sockets, those of the settings are bound."""
    (made,) = listening_sockets(Settings(port=0, address="127.0.0.1", rcvbuf=4096), passed=list)
    stack.enter_context(made)
    assert made.getsockname()[0] == "127.0.0.1"


def test_where_sockets_listen(stack: ExitStack) -> None:
    """The words tell one family from both, and several ports."""
    one, other, both, all4 = (bound(stack, address) for address in ("127.0.0.1", "::1", "::", "0.0.0.0"))
    only = stack.enter_context(socket.socket(socket.AF_INET6, socket.SOCK_DGRAM))
    only.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    only.bind(("::", 0))
    ports = [each.getsockname()[1] for each in (one, other, both, all4, only)]
    assert describe([one, one]) == f"127.0.0.1, UDP port {ports[0]}"
    assert describe([one, other]) == f"127.0.0.1, UDP port {ports[0]}; ::1, UDP port {ports[1]}"
    assert describe([both]) == f"all addresses, IPv4 and IPv6, UDP port {ports[2]}"
    assert describe([all4]) == f"all addresses, IPv4 only, UDP port {ports[3]}"
    assert describe([only]) == f"all addresses, IPv6 only, UDP port {ports[4]}"


class Passed:
    """A socket whose kernel may refuse SO_RCVBUFFORCE, as it does to those without CAP_NET_ADMIN."""

    family = socket.AF_INET

    def __init__(self, size: int, *, may_force: bool) -> None:
        self.size = size
        self.may_force = may_force

    def getsockopt(self, level: int, option: int) -> int:
        return self.size * 2

    def setsockopt(self, level: int, option: int, value: int) -> None:
        if option == socket.SO_RCVBUF:
            self.size = min(value, int(Path("/proc/sys/net/core/rmem_max").read_text()))
        elif not self.may_force:
            raise PermissionError
        else:
            self.size = value


@pytest.mark.parametrize(
    ("had", "may_force", "wanted", "got"),
    [
        (2**25, False, 2**25, 2**25),
        (2**25, True, 2**20, 2**25),
        (2**20, True, 2**25, 2**25),
        (2**29, False, 2**30 - 1, 2**29),
        (4096, False, 8192, 8192),
    ],
)
def test_receive_buffer_of_a_passed_socket(had: int, may_force: bool, wanted: int, got: int) -> None:
    """The buffer grows as far as we may make it, and one that the manager made larger than we may is never cut."""
    passed = Passed(had, may_force=may_force)
    enlarge_rcvbuf(passed, wanted)  # type: ignore[arg-type]
    assert passed.size == got


def test_receive_buffer_of_a_real_socket(stack: ExitStack) -> None:
    """With a real socket, the buffer is at least as large as it was."""
    one = bound(stack)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    enlarge_rcvbuf(one, 16384)
    assert granted_rcvbuf(one) == 16384
    enlarge_rcvbuf(one, 4096)
    assert granted_rcvbuf(one) == 16384
