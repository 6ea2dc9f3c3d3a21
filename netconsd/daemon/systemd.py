"""What a service manager and the daemon have to say to each other: sd_notify(3), watchdog, passed sockets.

It is systemd's protocol, which others speak as well: environment variables and a Unix datagram socket. Without those
variables all of this does nothing.
"""

from __future__ import annotations

import os
import socket
import stat
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

from twisted.logger import Logger

from netconsd.receive.sockets import bind, describe, enlarge_rcvbuf, meminfo
from netconsd.settings import ConfigError, Settings

__all__ = ["Notifier", "listening_sockets", "passed_sockets"]

# The first passed descriptor (sd_listen_fds(3)).
FIRST_FD = 3
# More than there can be listeners (settings.MAX_LISTENERS): what stands in an environment is not to be believed.
MAX_FDS = 64
# How long the reactor may be held up by a service manager that does not read: its next watchdog is soon enough.
SEND_SECONDS = 1.0


class Notifier:
    """Tells the service manager how the daemon is; what cannot be sent is lost, and never raises.

    For one thread at a time. The environment is read when it is used, because the process number in it is that of the
    process that was started, not that of a daemon which forked since.
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
            count.
        """
        self._environment = os.environ if environment is None else environment
        self._pid = pid
        self._clock = clock

    @property
    def watchdog(self) -> float:
        """Seconds within which :meth:`alive` has to be called again and again; 0 if nobody waits for that."""
        given = self._environment
        if given.get("WATCHDOG_PID", str(self._pid())) != str(self._pid()) or not given.get("NOTIFY_SOCKET"):
            return 0.0
        usec = given.get("WATCHDOG_USEC", "")
        return int(usec) / 1e6 if usec.isascii() and usec.isdecimal() else 0.0

    def ready(self, status: str) -> None:
        """The daemon has started, or has reloaded."""
        self._tell("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        """The daemon has begun to reload; :meth:`ready` ends it."""
        # Type=notify-reload (systemd 253) wants to know since when.
        self._tell("RELOADING=1", f"MONOTONIC_USEC={int(self._clock() * 1e6)}", "STATUS=Reopening files")

    def stopping(self) -> None:
        """The daemon has begun to stop."""
        self._tell("STOPPING=1", "STATUS=Delivering what was received")

    def alive(self, status: str) -> None:
        """The daemon works."""
        self._tell("WATCHDOG=1", f"STATUS={status}")

    def unwell(self, status: str) -> None:
        """The daemon does not work as it should: without :meth:`alive`, the watchdog will end it."""
        self._tell(f"STATUS={status}")

    def _tell(self, *lines: str) -> None:
        address = self._environment.get("NOTIFY_SOCKET", "")
        # A path, or a name in Linux's abstract namespace, whose first byte is a zero that is written as "@".
        if address[:1] not in ("/", "@"):
            return
        if address.startswith("@"):
            address = f"\0{address[1:]}"
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sending:
            sending.settimeout(SEND_SECONDS)
            sending.sendto("\n".join(lines).encode(errors="replace"), address)


def listening_sockets(
    settings: Settings, *, passed: Callable[[], list[socket.socket]] | None = None
) -> list[socket.socket]:
    """The sockets that were passed to this process; if there are none, those of :func:`netconsd.receive.sockets.bind`.

    Passed ones are all listened on: ``port``, ``address`` and ``listeners`` do not count then, which the log says.

    :raises ConfigError: if a passed one cannot be used, or none can be bound.
    """
    sockets = (passed or passed_sockets)()
    if not sockets:
        return bind(settings)
    for each in sockets:
        enlarge_rcvbuf(each, settings.rcvbuf)
    # They may be older than this process: the kernel counts drops, which is what our totals tell, from their birth on.
    Logger("netconsd").info(
        "The service manager passed {count} socket(s): {where}; --port, --address and --listeners do not count. "
        "Before this start the kernel had dropped {dropped} datagrams at them",
        count=len(sockets),
        where=describe(sockets),
        dropped=sum(meminfo(each).drops for each in sockets),
    )
    return sockets


def passed_sockets(
    environment: Mapping[str, str] | None = None, *, pid: Callable[[], int] = os.getpid, first: int = FIRST_FD
) -> list[socket.socket]:
    """The bound UDP sockets that were passed to this process, non-blocking; none if there are none.

    :param environment: by default that of the process; ``LISTEN_PID`` and ``LISTEN_FDS`` count.
    :param first: the first descriptor.
    :raises ConfigError: if one of them is something else.
    """
    given = os.environ if environment is None else environment
    count = given.get("LISTEN_FDS", "")
    if given.get("LISTEN_PID") != str(pid()) or not (count.isascii() and count.isdecimal()):
        return []
    if int(count) > MAX_FDS:
        raise ConfigError(f"LISTEN_FDS: {count} sockets were passed, more than {MAX_FDS}; have fewer ListenDatagram=")
    return [_adopted(fd) for fd in range(first, first + int(count))]


def _adopted(fd: int) -> socket.socket:
    wrong = f"LISTEN_FDS: the passed descriptor {fd} is not a bound UDP socket; the socket unit needs ListenDatagram="
    try:
        if not stat.S_ISSOCK(os.fstat(fd).st_mode):
            raise ConfigError(wrong)
        passed = socket.socket(fileno=fd)
    except OSError as error:
        raise ConfigError(f"{wrong} ({error.strerror})") from None
    internet = passed.family in (socket.AF_INET, socket.AF_INET6)
    if not internet or passed.proto != socket.IPPROTO_UDP or not passed.getsockname()[1]:
        passed.detach()
        raise ConfigError(wrong)
    passed.setblocking(False)
    # Not for the programs that a module may start.
    passed.set_inheritable(False)
    return passed
