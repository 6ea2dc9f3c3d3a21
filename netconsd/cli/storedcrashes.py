"""``netconsd crashes --store``: the crash reports of a store by bug, one bug with its messages, and new reports."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from netconsd.cli.crashfeed import Found
from netconsd.cli.log import Lines
from netconsd.cli.storeoptions import Lookup, lacks_library, place_of, unreadable
from netconsd.crash.groups import Group, Groups
from netconsd.crash.report import Report
from netconsd.daemon.stdout import put
from netconsd.names import Names
from netconsd.rendering import printable

#: Reports that ``--follow`` shows first, as tail does.
FOLLOW_LINES: Final = 10
#: Machines, and releases, that are named; a bug of the whole fleet would fill the screen with them.
SHOWN_LIMIT: Final = 10
#: The least characters of the beginning of an id that choose a bug; fewer are found in too many titles and ids.
PREFIX_LENGTH: Final = 4
#: Seconds between two looks for new reports.
INTERVAL: Final = 0.25


def run(
    directory: str,
    prog: str,
    *,
    show: str | None,
    follow: bool,
    as_json: bool,
    rows: Callable[[str, Found], object],
    groups: Callable[[Groups, dict[str, str]], object],
    each: bool = False,
    since: float | None = None,
    until: float | None = None,
    hosts: Sequence[str] = (),
    sleep: Callable[[float], object] = time.sleep,
) -> int:
    """Print the reports of a store.

    :param directory: empty for the default.
    :param show: the title or id of the bug to show, or a part of one; None for all bugs.
    :param rows: prints a report.
    :param groups: prints bugs, with the names of machines by address.
    :param each: print each report instead of bugs.
    :param since: print reports from this Unix time on, ``until`` up to this one, and ``hosts`` of these machines.
    :returns: the exit status.
    :raises ValueError: if a host is wrong.
    """
    if lacks_library(prog):
        return 2
    from netconsd.store.reader import Store

    place = place_of(argparse.Namespace(store=Path(directory) if directory else None, config=None), prog)
    path = place.directory
    faults: list[str] = []
    try:
        store = Store(path, damaged=lambda text, count: faults.append(text))
        if follow:
            return _follow(path, place.names, rows, sleep, as_json=as_json)
        lookup = Lookup(place.names)
        found = Groups()
        count = 0
        names: dict[str, str] = {}
        with lookup.running():
            chosen_hosts = lookup.chosen(hosts, lambda: [host.address for host in store.hosts()])
            for report in store.reports(since=since, until=until, hosts=chosen_hosts):
                count += 1
                address = report.source.address if report.source is not None else ""
                if address:
                    lookup.wait([address])
                if each:
                    rows(str(path), _found(report, place.names, as_json=as_json))
                    continue
                found.add(report)
                if address:
                    names[address] = _machine(report, place.names)
    except OSError as error:
        print(f"{prog}: {unreadable(error, path)}", file=sys.stderr)
        return 2
    for fault in faults:
        print(f"{prog}: {printable(fault)}", file=sys.stderr)
    if not count and not faults:
        if not as_json:
            print(f"{prog}: no crash report was found", file=sys.stderr)
        return 1
    if each or show is None:
        if not each:
            groups(found, names)
        return 2 if faults else 0 if count else 1
    matching = chosen(found, show)
    if len(matching) == 1:
        for line in _json(matching[0]) if as_json else text(matching[0], place.names, names):
            put(line, prog)
        return 2 if faults else 0
    if matching:
        several = "".join(f"\n  {group.id}  {group.title}" for group in matching)
        print(
            f"{prog}: {printable(show)} is a part of several titles or ids; choose one by its id:{several}",
            file=sys.stderr,
        )
    else:
        print(f"{prog}: no bug of the store has this id or title: {printable(show)}", file=sys.stderr)
    return 2 if faults or matching else 1


def chosen(groups: Groups, name: str) -> list[Group]:
    """Return the bug with this id or title; otherwise those of which it begins the id or is a part of the title."""
    group = groups.get(name) or groups.find(name)
    if group is not None:
        return [group]
    known = [*groups, *groups.loose]
    exact = [group for group in known if name in (group.id, group.title)]
    return exact or [
        group
        for group in known
        if name.casefold() in group.title.casefold()
        or (len(name) >= PREFIX_LENGTH and group.id.startswith(name.lower()))
    ]


def _machine(report: Report, names: Names) -> str:
    """Return the machine of a report as the printer shows it; empty if the report has none."""
    address = report.source.address if report.source is not None else ""
    messages = [message for message in (*report.before, *report.messages) if message.source.address == address]
    for message in messages:
        names.learn((message,))
    return names.sender(messages[-1]) if messages else address


def _found(report: Report, names: Names, *, as_json: bool) -> Found:
    if as_json:
        host = report.source.address if report.source is not None else None
    else:
        host = _machine(report, names) or None
    return Found(report, host, True, report.repeats)


def text(group: Group, names: Names | None = None, machine_names: dict[str, str] | None = None) -> Iterator[str]:
    """Yield the lines of a bug: its facts, then the messages before and of the report that shows it best.

    :param machine_names: the machines as they are shown, by address.
    """
    yield group.title
    yield f"id         {group.id}"
    yield f"severity   {group.severity}, {group.kind}"
    yield f"reports    {group.count}, {group.fatal} fatal, {group.incomplete} incomplete"
    yield f"seen       {_stamp(group.first)} to {_stamp(group.last)}"
    beyond = f" and {group.machines_beyond} reports of others" if group.machines_beyond else ""
    shown_names = machine_names or {}
    yield f"machines   {_counts(group.machines, shown_names)}{beyond}"
    if group.releases:
        yield f"releases   {_counts(group.releases)}"
    lone = group.lone_machine
    if lone is not None and len(group.machines) > 1:
        yield f"           mostly on {printable(shown_names.get(lone, lone))}: this machine, not the kernel"
    sample = group.sample
    if sample is None:
        return
    lines = Lines("full", colored=False, names=names)
    for heading, messages in (("before", sample.before), ("report", sample.messages)):
        if messages:
            yield ""
            yield f"{heading}:"
        for message in messages:
            yield lines.of_message(message).decode().removesuffix("\n")


def _json(group: Group) -> Iterator[str]:
    fields: dict[str, Any] = group.fields()
    sample: Report | None = group.sample
    fields["sample"] = None if sample is None else sample.fields()
    for name in ("before", "messages"):
        fields[name] = [] if sample is None else [message.text for message in getattr(sample, name)]
    yield json.dumps(fields)


def _counts(seen: dict[str, Any], shown_names: Mapping[str, str] = MappingProxyType({})) -> str:
    most = sorted(seen.items(), key=lambda item: (-item[1].count, item[0]))
    shown = ", ".join(f"{printable(shown_names.get(name, name))} ({one.count})" for name, one in most[:SHOWN_LIMIT])
    return shown + (f" and {len(most) - SHOWN_LIMIT} more; --json has all" if len(most) > SHOWN_LIMIT else "")


def _stamp(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def _follow(
    path: Path,
    names: Names,
    rows: Callable[[str, Found], object],
    sleep: Callable[[float], object],
    *,
    as_json: bool,
) -> int:
    """Print the last reports, and each new one as it is written, until interrupted."""
    from netconsd.store.findings import REPORTS, day_files, report_of

    # From the file of a day to the bytes that were read.
    done: dict[Path, int] = {}
    first = True
    shown = False
    try:
        while True:
            # Those of a month can have gigabytes: of the first look, only the last ones are kept.
            new: deque[Report] = deque(maxlen=FOLLOW_LINES if first else None)
            for file in day_files(path, REPORTS):
                with suppress(FileNotFoundError), file.open("rb") as opened:  # too old, and deleted
                    opened.seek(done.get(file, 0))
                    for line in opened:
                        if not line.endswith(b"\n"):
                            break  # being written
                        done[file] = done.get(file, 0) + len(line)
                        try:
                            new.append(report_of(line))
                        except ValueError:
                            continue  # torn, as the search without --follow says
            first = False
            for report in new:
                shown = True
                rows(str(path), _found(report, names, as_json=as_json))
            sleep(INTERVAL)
    except KeyboardInterrupt:
        return 0 if shown else 1
