"""``netconsd hosts``: the machines of a store: last heard, boots, messages, losses, release."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from netconsd.cli.inputs import COLUMNS, cut
from netconsd.cli.storeoptions import Lookup, add_names, add_store, lacks_library, place_of, unreadable
from netconsd.cli.when import joined, time_of
from netconsd.daemon.stdout import put
from netconsd.logger.template import host_name
from netconsd.names import Names
from netconsd.protocol.plural import plural
from netconsd.rendering import printable
from netconsd.units import Duration

if TYPE_CHECKING:
    from netconsd.store.reader import Host

_DESCRIPTION = """
List the senders in a store, in the order of their addresses: when each was heard last, its boots, messages, lost
messages, and the kernel's release. Only the indexes are read.
"""


def main(arguments: Sequence[str] | None = None, prog: str = "netconsd hosts") -> int:
    """Print the senders.

    :returns: 0 if there was a sender, 1 if not, 2 if the store could not be read, wholly or in part.
    :raises SystemExit: with 2, if an option is wrong; with 1, if standard output cannot be written.
    """
    now = time.time()
    parser = _parser(prog)
    options = parser.parse_args(joined(sys.argv[1:] if arguments is None else arguments))
    since = time_of(parser, "--since", options.since, now)
    if lacks_library(prog):
        return 2
    from netconsd.store.reader import Store

    faults: list[str] = []
    place = place_of(options, prog)
    lookup = Lookup(place.names)
    try:
        with lookup.running():
            store = Store(place.directory, damaged=lambda text, messages: faults.append(text))
            hosts = lookup.chosen(options.host, lambda: [host.address for host in store.hosts(since=since)])
            found = store.hosts(since=since, hosts=hosts)
            lookup.wait(host.address for host in found)
    except ValueError as error:
        parser.error(f"--{str(error).replace('hosts:', 'host:', 1)}")
    except OSError as error:
        print(f"{prog}: {unreadable(error, place.directory)}", file=sys.stderr)
        return 2
    for fault in faults:
        print(f"{prog}: {printable(fault)}", file=sys.stderr)
    if options.silent is not None:
        found = [host for host in found if now - host.last >= options.silent]
    if options.json:
        for host in found:
            put(json.dumps(_fields(host, place.names, now)), prog)
    elif found:
        _print(found, place.names, now, prog)
    elif not faults:
        print(f"{prog}: no machine was found", file=sys.stderr)
    return 2 if faults else 0 if found else 1


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=prog, description=_DESCRIPTION, allow_abbrev=False)
    add = parser.add_argument
    add_store(parser)
    add(
        *("--host",),
        action="append",
        default=[],
        metavar="HOST",
        help="an address, a network, a name with * for any characters, or last userdata KEY=VALUE; repeatable",
    )
    add("-S", "--since", metavar="TIME", help='heard since a time, such as "2h", "yesterday", "07:00"')
    add("--silent", type=_duration, metavar="TIME", help="not heard for so long or longer, such as 10m")
    add_names(parser)
    add("--json", action="store_true", help="print one JSON object a line")
    return parser


def _duration(text: str) -> float:
    try:
        return Duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _name(host: Host, names: Names, now: float, *, port: bool) -> str:
    """Return the machine as the printer shows it; with its port if another sender has its address."""
    claimed = _claimed(host, names)
    known = names.known(host.address, host.port, now) or host.address
    if port:
        known = f"[{known}]:{host.port}" if ":" in known else f"{known}:{host.port}"
    return f"{claimed}@{known}" if claimed else known


def _claimed(host: Host, names: Names) -> str:
    value = json.loads(host.userdata).get(names.host_key) if host.userdata and names.host_key else None
    return host_name(str(value)) or "" if value else ""


def ago(seconds: float) -> str:
    """Return a duration in its largest unit: ``12s``, ``3m``, ``7h``, ``40d``; 0s for a time in the future."""
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{int(seconds // size)}{unit}"
    return f"{max(0, int(seconds))}s"


def _print(found: Sequence[Host], names: Names, now: float, prog: str) -> None:
    terminal = sys.stdout is not None and sys.stdout.isatty()
    width = shutil.get_terminal_size((COLUMNS, 24)).columns if terminal else 0
    senders = Counter(host.address for host in found)
    shown = [printable(_name(host, names, now, port=senders[host.address] > 1)) for host in found]
    column = min(40, max(15, *map(len, shown)))
    put(f"{'machine':{column}}  {'heard':>9}  {'boots':>5}  {'messages':>9}  {'errors':>7}  {'lost':>6}  release", prog)
    for host, name in zip(found, shown, strict=True):
        errors = sum(host.levels[:4])
        lost = host.lost or host.likely_lost
        line = (
            f"{name:{column}}  {ago(now - host.last):>5} ago  {host.boots:5}  {host.messages:9}  {errors:7}  {lost:6}"
            f"  {printable(host.release or '-')}"
        )
        put(cut(line, width), prog)
    put(f"{plural(len(found), 'sender')}, {plural(sum(host.messages for host in found), 'message')}", prog)


def _fields(host: Host, names: Names, now: float) -> dict[str, Any]:
    return {
        "address": host.address,
        "name": _claimed(host, names) or names.known(host.address, host.port, now) or None,
        **host.fields(),
    }
