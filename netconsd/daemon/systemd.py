"""The daemon's side of systemd's protocol: sd_notify(3), the watchdog, passed sockets.

Other service managers use the protocol too: environment variables and a Unix datagram socket. Without the variables
nothing here has an effect.
"""

from __future__ import annotations

import os
import socket
import stat
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from twisted.logger import Logger

from netconsd.protocol.plural import plural
from netconsd.receive.sockets import bind, describe, enlarge_rcvbuf, meminfo
from netconsd.settings import ConfigError, Settings

# The first passed descriptor (sd_listen_fds(3)).
FIRST_FD = 3
# As many as --listeners allows. The bound keeps a wrong value in the environment from opening thousands of descriptors.
MAX_FDS = 64
# A service manager that does not read may block the reactor for this time; the next watchdog answer may still arrive.
SEND_SECONDS = 1.0


class Notifier:
    """Sends the daemon's state to the service manager; a state that cannot be sent is dropped, and nothing is raised.

    For one thread at a time. The environment is read for each call, because it has the process number of the process
    that was started, and the daemon may have forked since.
    """

    def __init__(
        self,
        environment: Mapping[str, str] | None = None,
        *,
        pid: Callable[[], int] = os.getpid,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        :param environment: by default that of the process; ``NOTIFY_SOCKET``, ``WATCHDOG_USEC`` and ``WATCHDOG_PID``
            are read.
        """
        self._environment = os.environ if environment is None else environment
        self._pid = pid
        self._clock = clock

    @property
    def watchdog(self) -> float:
        """The longest time in seconds between two calls of :meth:`alive`; 0 without a watchdog."""
        environment = self._environment
        pid = str(self._pid())
        if environment.get("WATCHDOG_PID", pid) != pid or not environment.get("NOTIFY_SOCKET"):
            return 0.0
        usec = environment.get("WATCHDOG_USEC", "")
        return int(usec) / 1e6 if usec.isascii() and usec.isdecimal() else 0.0

    def ready(self, status: str) -> None:
        """Report that the daemon has started or reloaded."""
        self._send("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        """Report that a reload has begun; :meth:`ready` ends it."""
        # Type=notify-reload (systemd 253) requires the time.
        self._send("RELOADING=1", f"MONOTONIC_USEC={int(self._clock() * 1e6)}", "STATUS=Reopening files")

    def stopping(self) -> None:
        """Report that the stop has begun."""
        self._send("STOPPING=1", "STATUS=Delivering what was received")

    def stop_progress(self, status: str, seconds: float) -> None:
        """Report that the stop makes progress, and ask for more time than ``TimeoutStopSec=``.

        :param seconds: until the next report at the latest; systemd (236) kills the daemon if there is none.
        """
        # The watchdog is answered as well: whether systemd still expects that during a stop depends on its version.
        self._send(f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}", "WATCHDOG=1", f"STATUS={status}")

    def alive(self, status: str) -> None:
        """Answer the watchdog."""
        self._send("WATCHDOG=1", f"STATUS={status}")

    def unwell(self, status: str) -> None:
        """Report a fault. Without calls of :meth:`alive` the watchdog ends the daemon."""
        self._send(f"STATUS={status}")

    def _send(self, *lines: str) -> None:
        address = self._environment.get("NOTIFY_SOCKET", "")
        # A path, or a name in Linux's abstract namespace, whose first byte is a zero that is written as "@".
        if address[:1] not in ("/", "@"):
            return
        if address.startswith("@"):
            address = f"\0{address[1:]}"
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.settimeout(SEND_SECONDS)
            sender.sendto("\n".join(lines).encode(errors="replace"), address)


def listening_sockets(
    settings: Settings, *, passed: Callable[[], list[socket.socket]] | None = None
) -> list[socket.socket]:
    """Return the sockets passed to this process, or, without any, those of :func:`netconsd.receive.sockets.bind`.

    Passed sockets replace ``port``, ``address`` and ``listeners``, which is logged.

    :raises ConfigError: if a passed socket cannot be used, or no socket can be bound.
    """
    sockets = (passed or passed_sockets)()
    if not sockets:
        return bind(settings)
    log = Logger("netconsd")
    for bound in sockets:
        enlarge_rcvbuf(bound, settings.rcvbuf)
    if unshared := _unshared(sockets):
        log.warn(
            "Sockets with the same address and port were passed, and the kernel gives all datagrams to one of them: "
            "{addresses}. Set ReusePort=yes in the socket unit",
            addresses=describe(unshared),
        )
    # A passed socket may be older than this process. The kernel counts its drops from its creation on, and our totals
    # have the kernel's count.
    log.info(
        "The service manager passed {count}: {addresses}; --port, --address and --listeners have no effect. "
        "Before this start the kernel had dropped {dropped} there",
        count=plural(len(sockets), "socket"),
        addresses=describe(sockets),
        dropped=_dropped_before(sockets),
    )
    return sockets


def _unshared(sockets: Sequence[socket.socket]) -> list[socket.socket]:
    """The sockets with the address and port of another one that do not share them by SO_REUSEPORT (socket(7)).

    SO_REUSEADDR, which systemd sets, lets UDP sockets have the same port as well, but shares nothing.
    """
    addresses = [bound.getsockname() for bound in sockets]
    return [
        bound
        for bound, address in zip(sockets, addresses, strict=True)
        if addresses.count(address) > 1 and not bound.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT)
    ]


def _dropped_before(sockets: Sequence[socket.socket]) -> str:
    try:
        return plural(sum(meminfo(bound).drops for bound in sockets), "datagram")
    except OSError:
        return "an unknown number of datagrams"


def passed_sockets(
    environment: Mapping[str, str] | None = None, *, pid: Callable[[], int] = os.getpid, first: int = FIRST_FD
) -> list[socket.socket]:
    """Return the bound UDP sockets that were passed to this process, set to non-blocking.

    :param environment: by default that of the process; ``LISTEN_PID`` and ``LISTEN_FDS`` are read.
    :param first: the first descriptor.
    :raises ConfigError: if a passed descriptor is not a bound UDP socket.
    """
    environment = os.environ if environment is None else environment
    count = environment.get("LISTEN_FDS", "")
    if environment.get("LISTEN_PID") != str(pid()) or not (count.isascii() and count.isdecimal()):
        return []
    if int(count) > MAX_FDS:
        raise ConfigError(
            f"LISTEN_FDS: {count} sockets were passed, more than {MAX_FDS}; use fewer ListenDatagram= lines"
        )
    return [_adopted(fd) for fd in range(first, first + int(count))]


def _adopted(fd: int) -> socket.socket:
    text = f"LISTEN_FDS: the passed descriptor {fd} is not a bound UDP socket; the socket unit needs ListenDatagram="
    try:
        if not stat.S_ISSOCK(os.fstat(fd).st_mode):
            raise ConfigError(text)
        passed = socket.socket(fileno=fd)
    except OSError as error:
        raise ConfigError(f"{text} ({error.strerror})") from None
    internet = passed.family in (socket.AF_INET, socket.AF_INET6)
    if not internet or passed.proto != socket.IPPROTO_UDP or not passed.getsockname()[1]:
        passed.detach()
        raise ConfigError(text)
    passed.setblocking(False)
    # Programs that a module starts do not inherit it.
    passed.set_inheritable(False)
    return passed
