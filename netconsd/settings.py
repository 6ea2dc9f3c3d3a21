"""The settings of the daemon and of an embedding application: one declaration for each option.

Each field of :class:`Settings` declares its option: letter, default, bounds and help. The command line
(:mod:`netconsd.tap`), the configuration file (:mod:`netconsd.daemon.config`) and ``netconsd check`` read the
declarations; a test compares them with the table in docs/options.

Times are in seconds and sizes in bytes here; options take times in milliseconds.
"""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final

from netconsd.protocol.allowlist import AllowList
from netconsd.protocol.legacy import FRAMINGS

__all__ = ["OPTIONS", "ConfigError", "Option", "Settings", "metrics_address", "name_server", "problem"]

MAX_PORT: Final = 65535
_YEAR: Final = 366 * 86400.0


class ConfigError(Exception):
    """An error in the configuration: ``str()`` is the whole text for the user, which names the setting to change."""


@dataclass(frozen=True)
class Option:
    """An option of the command line and of the configuration file."""

    help: str
    """Its meaning, in a few words."""
    value: str = ""
    """Its value in a synopsis, such as ``PORT``; empty for a flag."""
    bounds: tuple[float, float] | None = None
    """The smallest and the largest number, both allowed; floats are seconds, which the option takes in milliseconds."""
    check: Callable[[object], str | None] | None = None
    """Returns the reason why a value that is neither a number nor one of ``choices`` is wrong, or None."""
    choices: tuple[str, ...] = ()
    """The allowed texts."""
    short: str | None = None
    """The letter."""
    reloadable: bool = False
    """True if a new value takes effect on SIGHUP, without a restart."""
    name: str = ""
    """The long name, which is also the key in the file."""
    default: str = ""
    fields: tuple[str, ...] = ()
    """The fields of :class:`Settings` that it sets: one, or the parts of ``A/B``."""

    @property
    def unit(self) -> str:
        """``ms`` for a time, otherwise empty."""
        return "ms" if self.bounds and isinstance(self.bounds[0], float) else ""

    @property
    def values(self) -> str:
        """The allowed numbers, such as ``0 to 100 ms``, or texts; only the unit of ``A/B``; otherwise empty."""
        if self.choices:
            return ", ".join(self.choices)
        if self.bounds is None or len(self.fields) > 1:
            return self.unit
        low, high = (bound * 1000 if self.unit else bound for bound in self.bounds)
        return f"{low:.0f} to {high:.0f} {self.unit}".rstrip()


def _option(default: Any, help: str, value: str = "", /, **declared: Any) -> Any:  # noqa: A002 - as in argparse
    """Declare a field of :class:`Settings` and its option.

    The name of the option is that of the field by default. Fields with the same ``name`` share an option, as ``A/B``.
    """
    return field(default=default, metadata={"option": Option(help, value, **declared)})


def _flag_problem(value: object) -> str | None:
    return None if isinstance(value, bool) else f"{value!r} is neither true nor false"


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
    """Accept addresses of both families; a link-local one may name the interface: ``fe80::1%eth0`` (RFC 4007)."""
    if value is None:
        return None
    try:
        if isinstance(value, str):
            ipaddress.ip_address(value)
            return None
    except ValueError:
        pass
    return f"{value!r} is not an IPv4 or IPv6 address"


def _host_key_problem(value: object) -> str | None:
    """Accept the keys that configfs can make, except a newline; empty for none."""
    if isinstance(value, str) and value.isprintable() and not set(value) & set("= /") and len(value) <= 255:
        return None
    return f"{value!r} is not a key of userdata, such as host, or empty for none"


def _path_problem(value: object) -> str | None:
    if value is None or (isinstance(value, str) and value and "\0" not in value):
        return None
    return f"{value!r} is not a path"


def _dns_problem(value: object) -> str | None:
    if value in (None, "system"):
        return None
    try:
        if isinstance(value, str):
            name_server(value)
            return None
    except ValueError:
        pass
    return f"{value!r} is neither system nor the address of a server, such as 192.0.2.53 or 192.0.2.53:5353"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of one :class:`netconsd.service.NetconsdService`; every value is within its bounds.

    Each field is the option of the same name in docs/options, with times in seconds (``gc_interval`` and ``gc_age`` are
    the two parts of ``gc``). An ``address`` or ``metrics`` of None is the option's default.

    :raises ConfigError: for a value out of its bounds or of a wrong type, naming the field.
    """

    # 0 asks the kernel for a free port (`NetconsdService.port` returns it); 65535 is the largest of UDP's 16 bits.
    port: int = _option(1514, "UDP port; 0: any free one", "PORT", bounds=(0, MAX_PORT), short="u")

    address: str | None = _option(
        None, "address of this machine to listen on", "ADDRESS", check=_address_problem, short="a",
        default="all, IPv4 and IPv6",
    )  # fmt: skip

    # Every listener has its own receive buffer, of which the kernel allows twice --rcvbuf: 64 with the default of
    # 32 MiB can pin 4 GiB of the kernel's memory.
    listeners: int = _option(1, "sockets that share the port (SO_REUSEPORT)", "N", bounds=(1, 64), short="l")

    # A worker is a thread. Threads of one interpreter take turns, so more of them only help outputs that wait for a
    # disk or a network; beyond some dozens, switching between them costs more than it saves.
    workers: int = _option(2, "threads that decode messages and call the modules", "N", bounds=(1, 64), short="w")

    # 1024 is the kernel's limit for messages per call (UIO_MAXIOV). The reader has eight times as many slots of 64 KiB,
    # since a UDP datagram may be as large; memory is used only for the bytes received.
    batch: int = _option(512, "datagrams per system call", "N", bounds=(1, 1024), short="b")

    # A year is longer than any silence worth remembering, and keeps wrong values (infinity, microseconds taken for
    # milliseconds) out of the timers.
    gc_interval: float = _option(
        60.0, "every INTERVAL, forget the senders that were silent for AGE; an INTERVAL of 0: never", "INTERVAL/AGE",
        bounds=(0.0, _YEAR), name="gc", short="g",
    )  # fmt: skip
    gc_age: float = _option(3600.0, "", bounds=(0.0, _YEAR), name="gc")

    # Linux allows no receive buffer below about 2 KiB, doubles the requested size for its bookkeeping, and limits it to
    # half of a C int (net/core/sock.c). Below a page not even one full netconsole datagram would fit reliably.
    rcvbuf: int = _option(
        32 * 1024 * 1024, "bytes of receive buffer for each socket", "BYTES", bounds=(4096, (2**31 - 1) // 2)
    )

    # A queued datagram costs about a kilobyte: 16 Mi of them are 16 GiB in each worker.
    queue: int = _option(
        262144, "datagrams that may wait for each worker, and messages for each module", "N", bounds=(1, 2**24)
    )

    # As many as there are addresses in 10.0.0.0/8.
    max_sources: int = _option(200_000, "senders to remember", "N", bounds=(1, 2**24))

    # Reordering in a network takes milliseconds. A record that is still missing after a minute is lost, and a longer
    # wait only delays the last messages of a machine that crashed.
    reorder: float = _option(0.2, "time to wait for records missing before a message", "MS", bounds=(0.0, 60.0))

    # Some senders never send a newline, and nothing in the protocol says where their lines end.
    framing: str = _option("auto", "where a line of legacy text ends", "MODE", choices=FRAMINGS)

    # At full rate, a tenth of a second fills every receive buffer.
    pause: float = _option(0.005, "time between two reads under load", "MS", bounds=(0.0, 0.1))

    allow: tuple[str, ...] = _option(
        (), "accept datagrams from this network only, such as 192.0.2.0/24; may be given 256 times", "NETWORK",
        check=_allow_problem, default="all senders", reloadable=True,
    )  # fmt: skip

    # A worker takes some hundred thousand datagrams a second, so a higher rate would limit nobody.
    rate: int = _option(
        0, "datagrams a second from a sender, in the long run; 0: no limit", "N", bounds=(0, 1_000_000), reloadable=True
    )

    # A module that hangs, for example in a write to a terminal that nobody reads, must not make the daemon unstoppable;
    # a slow module should be able to deliver its messages. An hour is longer than any service manager waits.
    stop_timeout: float = _option(
        30.0, "time without progress after which a stop gives up a worker or a module", "MS", bounds=(0.0, 3600.0)
    )

    # A full queue of the default size, 262,144 messages at a millisecond each, is delivered within 263 seconds. The
    # daemon asks systemd for the time beyond TimeoutStopSec= while there is progress (docs/service).
    stop_limit: float = _option(
        300.0, "time after which a stop gives up everything, whatever the progress", "MS", bounds=(0.0, 24 * 3600.0)
    )

    metrics: str | None = _option(
        None, "serve metrics for Prometheus, and health, by HTTP; without ADDRESS on 127.0.0.1", "[ADDRESS:]PORT",
        check=_metrics_problem, default="off",
    )  # fmt: skip

    host_key: str = _option(
        "host", "key of the userdata that names the sender; empty: none", "KEY", check=_host_key_problem, default="host"
    )

    hosts_file: str | None = _option(
        None, "names of senders: a file in the format of hosts(5)", "FILE", check=_path_problem, default="none"
    )

    reverse_dns: str | None = _option(
        None, "names of senders from DNS: system, or the address of a server", "SERVER", check=_dns_problem,
        default="off",
    )  # fmt: skip

    acks: bool = _option(
        False, "acknowledge records to senders in user space (nctx), which then repeat the lost ones",
        check=_flag_problem, default="off",
    )  # fmt: skip

    def __post_init__(self) -> None:
        for setting in fields(self):
            reason = problem(setting.name, getattr(self, setting.name))
            if reason:
                raise ConfigError(f"{setting.name}: {reason}")
        if self.gc_age < self.gc_interval:
            raise ConfigError(
                f"gc_age: {self.gc_age:g} seconds are less than gc_interval, {self.gc_interval:g} seconds; "
                "senders would be forgotten later than gc_age says"
            )

    @property
    def sources_share(self) -> int:
        """Senders that each worker remembers: ``max_sources`` divided evenly, rounded up."""
        return -(-self.max_sources // self.workers)


_BY_FIELD: Final[dict[str, Option]] = {setting.name: setting.metadata["option"] for setting in fields(Settings)}


def _options() -> Iterator[Option]:
    names = {setting: option.name or setting.replace("_", "-") for setting, option in _BY_FIELD.items()}
    for name in dict.fromkeys(names.values()):
        settings = tuple(setting for setting in names if names[setting] == name)
        first = _BY_FIELD[settings[0]]
        factor = 1000 if first.unit else 1
        default = first.default or "/".join(
            str(getattr(Settings, setting)) if first.choices else f"{getattr(Settings, setting) * factor:.0f}"
            for setting in settings
        )
        yield replace(first, name=name, default=default, fields=settings)


OPTIONS: Final[dict[str, Option]] = {option.name: option for option in _options()}
"""The options that are settings of the service, by their long names."""


def option_fields() -> dict[str, Option]:
    """Return the option of each field of :class:`Settings`, in their order."""
    return dict(_BY_FIELD)


def problem(field: str, value: object, *, milliseconds: bool = False) -> str | None:
    """Return the reason why a value for a field of :class:`Settings` is wrong, or None if it is allowed.

    :param field: the name of a field of :class:`Settings`.
    :param milliseconds: a time is given in milliseconds, and the reason is worded in them.
    """
    option = _BY_FIELD[field]
    if option.choices:
        return None if value in option.choices else f"{value!r} is not one of {', '.join(option.choices)}"
    if option.bounds is None:
        return option.check(value) if option.check else None
    low, high = option.bounds
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
    """Return the address and the port of ``[ADDRESS:]PORT``; the address is 127.0.0.1 if there is none.

    :param text: an IPv6 address in it stands in brackets.
    :raises ValueError: if the text has another form.
    """
    address, colon, port = text.rpartition(":")
    if not (port.isascii() and port.isdigit() and int(port[:6]) <= MAX_PORT):
        raise ValueError
    if not colon:
        return "127.0.0.1", int(port)
    if address[:1] == "[" and address[-1:] == "]":
        return str(ipaddress.IPv6Address(address[1:-1])), int(port)
    return str(ipaddress.IPv4Address(address)), int(port)


def name_server(text: str) -> tuple[str, int]:
    """Return the address and the port, 53 by default, of ``ADDRESS``, ``ADDRESS:PORT`` or ``[ADDRESS]:PORT``.

    :raises ValueError: if the text has another form.
    """
    host, port = text, "53"
    if text.startswith("["):
        host, _, port = text[1:].partition("]:")
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    ipaddress.ip_address(host)
    if not (port.isascii() and port.isdigit() and 0 < int(port[:6]) <= MAX_PORT):
        raise ValueError
    return host, int(port)
