"""The options that say which store a command reads, and by which names it shows machines."""

from __future__ import annotations

import argparse
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import translate
from importlib.util import find_spec
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

from netconsd.logger.hostnames import LOOKUPS_LIMIT, HostsError
from netconsd.names import Names
from netconsd.rendering import LEVELS
from netconsd.settings import ConfigError, Settings

#: The configuration of the service (docs/service), from which a command has the directory and the names.
CONFIG: Final = Path("/etc/netconsd/netconsd.toml")
#: Seconds for which a command waits for names of DNS in all; then it shows addresses, so that a server that does not
#: answer holds up nobody.
NAMES_SECONDS: Final = 5.0
#: What a command says without the library that reads a store.
LIBRARY_MISSING: Final = 'needs pyarrow, which is not installed: pip install "netconsd[store]"'
# Seconds between two looks at the answers.
_LOOK: Final = 0.005
_LEVEL_NAMES: Final = {**{name: number for number, name in enumerate(LEVELS)}, "warning": 4, "error": 3, "panic": 0}


@dataclass(frozen=True)
class Place:
    """A store, and the names of its machines."""

    directory: Path
    names: Names


def add_store(parser: argparse.ArgumentParser) -> None:
    """Add ``--store`` and ``--config``."""
    add = parser.add_argument
    add("--store", type=Path, metavar="DIR", help="the directory of the store [default: that of the configuration]")
    add("--config", metavar="FILE", help=f"the daemon's configuration [default: {CONFIG}, if there is one]")


def add_names(parser: argparse.ArgumentParser) -> None:
    """Add the daemon's options for names."""
    add = parser.add_argument
    add("--host-key", metavar="KEY", help="the key of the userdata that names a machine, as of the daemon")
    add("--hosts-file", metavar="FILE", help="names of machines, in the format of hosts(5), as of the daemon")
    add("--reverse-dns", metavar="SERVER", help="ask DNS for names, as the daemon: system, or a server's address")


def place_of(options: argparse.Namespace, prog: str) -> Place:
    """Return the store and the names that the options, the configuration, or the defaults say.

    :raises SystemExit: with 2 and a text on stderr, if an option or the named configuration is wrong.
    """
    words = {
        name.replace("_", "-"): value
        for name in ("host_key", "hosts_file", "reverse_dns")
        if (value := getattr(options, name, None)) is not None
    }
    config = options.config
    try:
        settings, directory = _configured(words, config)
    except ConfigError as error:
        if config is not None or not CONFIG.is_file():
            print(f"{prog}: {error}", file=sys.stderr)
            raise SystemExit(2) from None
        # Of the service, which says it too: the store can be read nevertheless.
        print(f"{prog}: {error}; without the configuration:", file=sys.stderr)
        settings, directory = Settings(), None
    names = Names(settings.host_key, settings.hosts_file, settings.reverse_dns)
    try:
        names.read()
    except HostsError as error:
        print(f"{prog}: {error}", file=sys.stderr)
        if getattr(options, "hosts_file", None) is not None:
            raise SystemExit(2) from None
    # Not for --help: the room of the store takes a while to import.
    from netconsd.store.layout import default_to_read

    return Place(options.store or directory or default_to_read(), names)


def _configured(words: dict[str, str], config: str | None) -> tuple[Settings, Path | None]:
    """Return the settings, and the directory of the store if the configuration has one."""
    if config is None and os.access(CONFIG, os.R_OK):
        config = str(CONFIG)
    if config is None and not words:
        return Settings(), None
    from netconsd.daemon.config import configure

    configuration = configure(words, config=config)
    setting = configuration.module_settings.get("store", {}).get("directory")
    directory = setting.base / str(setting.value) if setting is not None else None
    return configuration.settings, directory


def has_library() -> bool:
    """Return whether the library that reads a store is installed."""
    return find_spec("pyarrow") is not None


def lacks_library(prog: str) -> bool:
    """Return whether the library is missing; a text on stderr says so."""
    if has_library():
        return False
    print(f"{prog}: {LIBRARY_MISSING}", file=sys.stderr)
    return True


def unreadable(error: OSError, directory: Path) -> str:
    """Return the text of an error of reading a store: what, why, and what to change."""
    path = error.filename or directory
    if isinstance(error, PermissionError):
        owner = _group_of(directory)
        return f"{path}: {error.strerror}; the group{owner} may read the store: usermod -aG adds a user"
    if isinstance(error, (FileNotFoundError, NotADirectoryError)):
        return f"{path}: {error.strerror}: there is no store; --store names its directory"
    return f"{path}: {error.strerror or error}"


def _group_of(directory: Path) -> str:
    import grp

    for path in (directory, *directory.absolute().parents):
        # The directory of the store can be hidden by the one above.
        try:
            group = path.stat().st_gid
        except OSError:
            continue
        try:
            return f" {grp.getgrgid(group).gr_name}"
        except KeyError:
            return f" {group}"
    return ""


class Lookup:
    """Waits for the names of machines, so that they are shown and chosen by them at once. For one thread."""

    def __init__(self, names: Names, seconds: float = NAMES_SECONDS) -> None:
        """:param seconds: the most that is waited for DNS in all."""
        self.names = names
        self._left = seconds
        self._asked: set[str] = set()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Ask DNS within the block, in a thread, if that is wanted."""
        if not self.names.asks_dns:
            yield
            return
        from twisted.internet import reactor as installed

        reactor: Any = installed
        self.names.start(reactor)
        thread = threading.Thread(target=reactor.run, args=(False,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            reactor.callFromThread(self.names.stop)
            reactor.callFromThread(reactor.stop)
            thread.join()

    def wait(self, addresses: Iterable[str]) -> None:
        """Return when the names of the addresses are known, or cannot be known soon."""
        if not self.names.asks_dns or self._left <= 0:
            return
        new = [address for address in dict.fromkeys(addresses) if address not in self._asked]
        for first in range(0, len(new), LOOKUPS_LIMIT):
            chunk = new[first : first + LOOKUPS_LIMIT]
            begun = time.monotonic()
            for address in chunk:
                self.names.known(address, 0, time.time())
            while self.names.pending and time.monotonic() - begun < self._left:
                time.sleep(_LOOK)
            self._left -= time.monotonic() - begun
            if self._left <= 0:
                return
            self._asked.update(chunk)

    def chosen(self, hosts: Sequence[str], senders: Callable[[], Iterable[str]]) -> tuple[str, ...]:
        """Return the conditions of a search for machines, in which names of the file and of DNS are addresses.

        ``web01@192.0.2.7``, as machines are shown, is this address.

        :param senders: returns the addresses of all machines; called if DNS has names.
        """
        found: dict[str, None] = {}
        for host in hosts:
            name, at, place = host.partition("@")
            if at and name and place and "=" not in host:
                host = place
            found[host] = None
            if "=" in host or "/" in host or _is_address(host):
                continue
            if self.names.host_key != "host" and self.names.host_key:
                found[f"{self.names.host_key}={host}"] = None
            matches = re.compile(translate(host.lower())).fullmatch
            found |= {address: None for address, known in self.names.of_file().items() if matches(known.lower())}
            if self.names.asks_dns:
                addresses = list(senders())
                self.wait(addresses)
                now = time.time()
                # The userdata of a message are no part of this name.
                found |= {address: None for address in addresses if matches(self.names.known(address, 0, now).lower())}
        return tuple(found)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def levels(text: str) -> tuple[int, int]:
    """Return the most and the least severe level of ``err``, ``3``, ``warn..info`` or ``6..4``, as of journalctl.

    One level alone stands for it and all more severe ones.

    :raises argparse.ArgumentTypeError: for another text.
    """
    first, dots, last = text.partition("..")
    numbers = []
    for name in (first, last) if dots else (first,):
        number = _LEVEL_NAMES.get(name.lower(), int(name) if name in tuple("01234567") else -1)
        if number < 0:
            raise argparse.ArgumentTypeError(
                f"{text} is not a level: write one of {', '.join(LEVELS)}, a number from 0 to 7, or a range such as "
                "err..info"
            )
        numbers.append(number)
    return (min(numbers), max(numbers)) if dots else (0, numbers[0])
