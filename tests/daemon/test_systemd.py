"""sd_notify and passed sockets, with an environment and sockets made by the test."""

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
    """Return a notifier of a process with this environment."""
    return Notifier(environment, pid=lambda: PID, clock=lambda: 12.5)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Closes the sockets of a test."""
    with ExitStack() as opened:
        yield opened


def manager(stack: ExitStack, address: str) -> socket.socket:
    """Return a service manager's socket."""
    listening = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
    listening.bind(address)
    listening.setblocking(False)
    return listening


@pytest.mark.parametrize("abstract", [False, True])
def test_states(tmp_path: Path, stack: ExitStack, abstract: bool) -> None:
    """Each state is one datagram of assignments, to a path or to an abstract name, which is written with @."""
    name = f"netconsd-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    listening = manager(stack, f"\0{name}" if abstract else name)
    sender = notifier({"NOTIFY_SOCKET": f"@{name}" if abstract else name})
    sender.ready("7 messages")
    sender.reloading()
    sender.stopping()
    sender.alive("8 messages")
    sender.unwell("stuck")
    sender.stop_progress("9 left", 90.0)
    assert [listening.recv(4096).decode().splitlines() for _ in range(6)] == [
        ["READY=1", "STATUS=7 messages"],
        ["RELOADING=1", "MONOTONIC_USEC=12500000", "STATUS=Reopening files"],
        ["STOPPING=1", "STATUS=Delivering what was received"],
        ["WATCHDOG=1", "STATUS=8 messages"],
        ["STATUS=stuck"],
        ["EXTEND_TIMEOUT_USEC=90000000", "WATCHDOG=1", "STATUS=9 left"],
    ]


@pytest.mark.parametrize("address", ["", "relative", "vsock:1:2", "/nowhere/at/all", "@nobody-listens-here"])
def test_no_manager(address: str) -> None:
    """Without a service manager, or after its end, nothing happens."""
    notifier({"NOTIFY_SOCKET": address}).ready("")
    notifier({}).stopping()


def test_manager_that_does_not_read(tmp_path: Path, stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service manager whose socket is full blocks the daemon only for a limited time."""
    monkeypatch.setattr("netconsd.daemon.systemd.SEND_SECONDS", 0.01)
    manager(stack, str(tmp_path / "notify"))
    sender = notifier({"NOTIFY_SOCKET": str(tmp_path / "notify")})
    limit = int(Path("/proc/sys/net/unix/max_dgram_qlen").read_text())
    for _ in range(min(limit, 1000) + 2):
        sender.stopping()


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
    """The watchdog's time is used if it is valid and for this process."""
    assert notifier({"NOTIFY_SOCKET": "/x", **environment}).watchdog == seconds


def bound(stack: ExitStack, address: str = "127.0.0.1", kind: int = socket.SOCK_DGRAM) -> socket.socket:
    """Return a bound socket."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    made = stack.enter_context(socket.socket(family, kind))
    made.bind((address, 0))
    return made


def passed(stack: ExitStack, *sockets: socket.socket, **environment: str) -> list[socket.socket]:
    """Return the sockets of a process to which these were passed."""
    # Consecutive numbers, as from a service manager, above all open ones of this process.
    first = 500
    for number, each in enumerate(sockets, start=first):
        os.dup2(each.fileno(), number)
        stack.callback(_close, number)
    variables = {"LISTEN_PID": str(PID), "LISTEN_FDS": str(len(sockets)), **environment}
    result = passed_sockets(variables, pid=lambda: PID, first=first)
    for each in result:
        stack.enter_context(each)
    return result


def _close(fd: int) -> None:
    with suppress(OSError):
        os.close(fd)


def test_passed_sockets(stack: ExitStack) -> None:
    """Sockets of both families are used as they are bound, non-blocking and not inheritable."""
    originals = [bound(stack), bound(stack, "::1")]
    result = passed(stack, *originals)
    assert [each.getsockname() for each in result] == [each.getsockname() for each in originals]
    assert [each.family for each in result] == [socket.AF_INET, socket.AF_INET6]
    assert not any(each.getblocking() or each.get_inheritable() for each in result)


@pytest.mark.parametrize(
    "environment",
    [{"LISTEN_PID": "78"}, {"LISTEN_PID": ""}, {"LISTEN_FDS": "0"}, {"LISTEN_FDS": "x"}, {"LISTEN_FDS": "-1"}],
)
def test_nothing_passed(stack: ExitStack, environment: dict[str, str]) -> None:
    """Variables for another process, and invalid ones, are ignored."""
    assert passed(stack, **{"LISTEN_FDS": "1", **environment}) == []


def test_a_descriptor_that_is_no_udp_socket(stack: ExitStack, tmp_path: Path) -> None:
    """A stream, a Unix socket, an unbound socket, a file or a closed descriptor is an error, and is left unchanged."""
    unbound = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    for other in (bound(stack, kind=socket.SOCK_STREAM), manager(stack, str(tmp_path / "s")), unbound):
        with pytest.raises(ConfigError, match="the passed descriptor 500 is not a bound UDP socket"):
            passed(stack, other)
        os.fstat(500)
    with (tmp_path / "file").open("w") as file:
        os.dup2(file.fileno(), 500)
    with pytest.raises(ConfigError, match="ListenDatagram="):
        passed(stack, LISTEN_FDS="1")
    _close(500)
    with pytest.raises(ConfigError, match="Bad file descriptor"):
        passed(stack, LISTEN_FDS="1")


def test_too_many_sockets(stack: ExitStack) -> None:
    """A number above the bound is an error."""
    with pytest.raises(ConfigError, match="more than 64"):
        passed(stack, LISTEN_FDS=str(MAX_FDS + 1))


def test_passed_sockets_are_listened_on(stack: ExitStack) -> None:
    """Passed sockets are used instead of bound ones, and the log has their addresses."""
    one = bound(stack)
    with daemon_log() as logged:
        assert listening_sockets(Settings(), passed=lambda: [one]) == [one]
    (line,) = logged()
    assert f"passed 1 socket: 127.0.0.1, UDP port {one.getsockname()[1]}; " in line


@pytest.mark.parametrize("option", [socket.SO_REUSEADDR, socket.SO_REUSEPORT])
def test_passed_sockets_of_one_port(stack: ExitStack, option: int) -> None:
    """Sockets of one port that do not share its datagrams are a warning. SO_REUSEPORT shares them."""
    sockets = [stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(2)]
    for each in sockets:
        each.setsockopt(socket.SOL_SOCKET, option, 1)
        each.bind(("127.0.0.1", sockets[0].getsockname()[1]))
    with daemon_log() as logged:
        listening_sockets(Settings(), passed=lambda: [*sockets, bound(stack, "::1")])
    warnings = [line for line in logged() if "ReusePort=yes" in line]
    assert len(warnings) == (option == socket.SO_REUSEADDR)
    assert all(f"127.0.0.1, UDP port {sockets[0].getsockname()[1]}" in line for line in warnings)


def test_without_passed_sockets_one_is_bound(stack: ExitStack) -> None:
    """Without passed sockets, sockets are bound as the settings say."""
    (result,) = listening_sockets(Settings(port=0, address="127.0.0.1", rcvbuf=4096), passed=list)
    stack.enter_context(result)
    assert result.getsockname()[0] == "127.0.0.1"


def test_descriptions_of_sockets(stack: ExitStack) -> None:
    """The description has the address, the family and the port of each different socket."""
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
    """A socket that may refuse SO_RCVBUFFORCE, as the kernel does without CAP_NET_ADMIN."""

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
    """The buffer grows as far as the kernel allows, and a larger one made by the manager is never reduced."""
    passed = Passed(had, may_force=may_force)
    enlarge_rcvbuf(passed, wanted)  # type: ignore[arg-type]
    assert passed.size == got


def test_receive_buffer_of_a_real_socket(stack: ExitStack) -> None:
    """The buffer of a real socket grows, and is never reduced."""
    one = bound(stack)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    enlarge_rcvbuf(one, 16384)
    assert granted_rcvbuf(one) == 16384
    enlarge_rcvbuf(one, 4096)
    assert granted_rcvbuf(one) == 16384
