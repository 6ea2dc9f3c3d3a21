"""What the daemon and an embedding application set, with the bounds of every value.

Times are in seconds and sizes in bytes here; the options on the command line and in the configuration file have the
units of docs/options (milliseconds for times), which :mod:`netconsd.daemon.config` converts.
"""

from __future__ import annotations

import ipaddress
import math
from dataclasses import dataclass, fields
from typing import Final, NamedTuple

from netconsd.protocol.allowlist import AllowList

__all__ = ["BOUNDS", "Bounds", "ConfigError", "Settings", "metrics_address", "problem"]

# 0 asks the kernel for a free port (`NetconsdService.port` tells which); 65535 is the largest of UDP's 16 bits.
MIN_PORT: Final = 0
MAX_PORT: Final = 65535

# Every listener has a receive buffer of its own: 64 with the default of 32 MiB can pin 2 GiB of the kernel's memory.
MIN_LISTENERS: Final = 1
MAX_LISTENERS: Final = 64

# A worker is a thread. Threads of one interpreter take turns, so that more of them only help outputs that wait for a
# disk or a network; beyond some dozens they cost more switches than they save.
MIN_WORKERS: Final = 1
MAX_WORKERS: Final = 64

# The kernel's own limit for messages per call (UIO_MAXIOV). The reader has eight times as many slots of 64 KiB, since a
# UDP datagram may be as large; of each, memory is taken only for what is received.
MIN_BATCH: Final = 1
MAX_BATCH: Final = 1024

# An interval of 0 switches forgetting off. A year is longer than any silence that is worth remembering, and keeps
# nonsense (infinity, microseconds taken for milliseconds) out of the timers.
MIN_GC: Final = 0.0
MAX_GC: Final = 366 * 86400.0

# Linux lets no receive buffer be smaller than about 2 KiB, doubles what is asked for its bookkeeping and cuts it at
# half of a C int (net/core/sock.c). Below a page not even one full datagram of netconsole would fit reliably.
MIN_RCVBUF: Final = 4096
MAX_RCVBUF: Final = (2**31 - 1) // 2

# A queued datagram costs about a kilobyte: 16 Mi of them are 16 GiB in each worker, more than waiting can be good for.
MIN_QUEUE: Final = 1
MAX_QUEUE: Final = 2**24

# As many as there are addresses in 10.0.0.0/8.
MIN_MAX_SOURCES: Final = 1
MAX_MAX_SOURCES: Final = 2**24

# 0 waits for nothing. Reordering in a network takes milliseconds; what is still missing after a minute is lost, and
# waiting longer only holds back the last words of a machine that died.
MIN_REORDER: Final = 0.0
MAX_REORDER: Final = 60.0


# 0 is no limit. A worker takes some hundred thousand per second, so a higher rate would limit nobody.
MIN_RATE: Final = 0
MAX_RATE: Final = 1_000_000

# A module that hangs, in a write to a terminal that nobody reads, say, must not make the daemon unstoppable; one that
# is only slow should get its messages out. Who has waited for an hour has forgotten it.
MIN_STOP_TIMEOUT: Final = 0.0
MAX_STOP_TIMEOUT: Final = 3600.0

# 0 reads whenever something comes. A tenth of a second at full rate fills every receive buffer.
MIN_PAUSE: Final = 0.0
MAX_PAUSE: Final = 0.1


class Bounds(NamedTuple):
    """The smallest and the largest value of a setting, both allowed. Floats mean seconds, ints are counted."""

    low: float
    high: float


BOUNDS: Final[dict[str, Bounds]] = {
    "port": Bounds(MIN_PORT, MAX_PORT),
    "listeners": Bounds(MIN_LISTENERS, MAX_LISTENERS),
    "workers": Bounds(MIN_WORKERS, MAX_WORKERS),
    "batch": Bounds(MIN_BATCH, MAX_BATCH),
    "gc_interval": Bounds(MIN_GC, MAX_GC),
    "gc_age": Bounds(MIN_GC, MAX_GC),
    "rcvbuf": Bounds(MIN_RCVBUF, MAX_RCVBUF),
    "queue": Bounds(MIN_QUEUE, MAX_QUEUE),
    "max_sources": Bounds(MIN_MAX_SOURCES, MAX_MAX_SOURCES),
    "reorder": Bounds(MIN_REORDER, MAX_REORDER),
    "pause": Bounds(MIN_PAUSE, MAX_PAUSE),
    "rate": Bounds(MIN_RATE, MAX_RATE),
    "stop_timeout": Bounds(MIN_STOP_TIMEOUT, MAX_STOP_TIMEOUT),
}


class ConfigError(Exception):
    """Something in the configuration cannot be: ``str()`` is the whole text for the user, naming what to mend."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of one :class:`netconsd.service.NetconsdService`; every value in them is within its bounds.

    :raises ConfigError: for a value that is not, naming the field.
    """

    port: int = 1514
    """UDP port; 0 lets the kernel choose."""
    address: str | None = None
    """An IPv4 or IPv6 address of this machine to listen on; None: all of both families."""
    listeners: int = 1
    """Sockets that share the port (SO_REUSEPORT)."""
    workers: int = 2
    """Threads that decode messages and call the outputs."""
    batch: int = 512
    """Datagrams per system call."""
    gc_interval: float = 60.0
    """Seconds between two searches for silent senders; 0: none is ever forgotten for being silent."""
    gc_age: float = 3600.0
    """Seconds of silence after which a sender is forgotten."""
    rcvbuf: int = 32 * 1024 * 1024
    """Bytes of receive buffer per listener that the kernel is asked for."""
    queue: int = 262144
    """Datagrams that may wait for each worker; more are shed, and counted."""
    max_sources: int = 200_000
    """Senders that are remembered in all; beyond, the one that was silent for longest is forgotten."""
    reorder: float = 0.2
    """Seconds that a message waits for the ones missing before it."""
    pause: float = 0.002
    """Seconds that the reader waits under load, so that the next read finds more; 0: it never waits."""
    allow: tuple[str, ...] = ()
    """Networks whose datagrams are taken (:class:`netconsd.protocol.allowlist.AllowList`); empty: everybody's."""
    rate: int = 0
    """Datagrams per second that a sender may send in the long run; 0: as many as it likes."""
    stop_timeout: float = 30.0
    """Seconds that the stop waits for the workers, and for each module that stops."""
    metrics: str | None = None
    """``[ADDRESS:]PORT`` of the HTTP port for monitoring (:func:`metrics_address`); None: there is none."""
    acks: bool = False
    """Whether senders are told what arrived (docs/wire section 7)."""

    def __post_init__(self) -> None:
        for field in fields(self):
            reason = problem(field.name, getattr(self, field.name))
            if reason:
                raise ConfigError(f"{field.name}: {reason}")
        if self.gc_age < self.gc_interval:
            raise ConfigError(
                f"gc_age: {self.gc_age:g} seconds are less than gc_interval, {self.gc_interval:g}; "
                "a sender would be forgotten later than it says"
            )

    @property
    def sources_share(self) -> int:
        """How many senders each worker remembers: ``max_sources`` are shared out, for addresses spread evenly."""
        return -(-self.max_sources // self.workers)


def problem(field: str, value: object, *, milliseconds: bool = False) -> str | None:
    """Say what is wrong with a value for a field of :class:`Settings`, or None if nothing is.

    :param field: the name of a field of :class:`Settings`.
    :param milliseconds: the value of a time is given in milliseconds and the text shall be, too.
    """
    if field == "address":
        return _address_problem(value)
    if field == "acks":
        return None if isinstance(value, bool) else f"{value!r} is neither true nor false"
    if field == "allow":
        return _allow_problem(value)
    if field == "metrics":
        return _metrics_problem(value)
    low, high = BOUNDS[field]
    if isinstance(low, int):
        if isinstance(value, bool) or not isinstance(value, int):
            return f"{value!r} is not a whole number"
        unit = ""
    else:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            return f"{value!r} is not a number"
        unit = " milliseconds" if milliseconds else " seconds"
        if milliseconds:
            low, high = low * 1000, high * 1000
    if not low <= value <= high:
        return f"{value} is not between {low:.0f} and {high:.0f}{unit}"
    return None


def metrics_address(text: str) -> tuple[str, int]:
    """Read ``[ADDRESS:]PORT``, where an IPv6 address stands in brackets; without an address it is 127.0.0.1.

    :raises ValueError: if it is something else.
    """
    address, colon, port = text.rpartition(":")
    if not (port.isascii() and port.isdigit() and int(port[:6]) <= MAX_PORT):
        raise ValueError
    if not colon:
        return "127.0.0.1", int(port)
    if address[:1] == "[" and address[-1:] == "]":
        return str(ipaddress.IPv6Address(address[1:-1])), int(port)
    return str(ipaddress.IPv4Address(address)), int(port)


def _metrics_problem(value: object) -> str | None:
    if value is None:
        return None
    try:
        if isinstance(value, str):
            metrics_address(value)
            return None
    except ValueError:
        pass
    return f"{value!r} is not [ADDRESS:]PORT, such as 9100, 192.0.2.1:9100 or [::1]:9100"


def _allow_problem(value: object) -> str | None:
    if not isinstance(value, tuple) or not all(isinstance(text, str) for text in value):
        return f"{value!r} is not a list of networks, each a text such as 192.0.2.0/24"
    try:
        AllowList(value)
    except ValueError as error:
        return str(error)
    return None


def _address_problem(value: object) -> str | None:
    """As :func:`problem`; a link-local address may carry the interface as in ``fe80::1%eth0`` (RFC 4007)."""
    if value is None:
        return None
    try:
        if isinstance(value, str):
            ipaddress.ip_address(value)
            return None
    except ValueError:
        pass
    return f"{value!r} is not an IPv4 or IPv6 address"
