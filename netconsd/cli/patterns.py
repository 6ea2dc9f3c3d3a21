"""``netconsd patterns``: the messages of a store by the form of their texts: what is frequent, new, or rising."""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from netconsd.cli.inputs import COLUMNS, broken
from netconsd.cli.storeoptions import add_store, levels, place_of, unreadable
from netconsd.cli.when import joined
from netconsd.daemon.stdout import put
from netconsd.protocol.plural import plural
from netconsd.rendering import LEVELS, printable
from netconsd.store.when import moment

if TYPE_CHECKING:
    from netconsd.store.patterns import Pattern

#: Patterns that are printed without ``-n``.
LINES: Final = 50
#: A pattern is rising if its rate is so many times that of before.
RISING: Final = 4.0
# Columns before a pattern; on a terminal with less than _WIDE columns it is below its numbers.
_INDENT: Final = 47
_NARROW_INDENT: Final = 4
_WIDE: Final = 120
#: Trials to read a store whose compactor replaces segments meanwhile.
_TRIALS: Final = 5

_DESCRIPTION = """
Group the messages of a store by the form of their texts: numbers, addresses, devices and names are replaced. Each
pattern is shown with its messages, machines, the time of the first one, the most severe level, and the kernels.
"""


@dataclass(frozen=True, slots=True)
class Span:
    """The patterns of a segment, or of a part of the journal, and the times of its messages."""

    first: float
    last: float
    table: Any


def main(arguments: Sequence[str] | None = None, prog: str = "netconsd patterns") -> int:
    """Print the patterns.

    :returns: 0 if there was a pattern, 1 if not, 2 if the store could not be read, wholly or in part.
    :raises SystemExit: with 2, if an option is wrong; with 1, if standard output cannot be written.
    """
    now = time.time()
    parser = _parser(prog)
    options = parser.parse_args(joined(sys.argv[1:] if arguments is None else arguments))
    try:
        since = None if options.since is None else moment(options.since, now)
    except ValueError as error:
        parser.error(f"--since: {error}")
    if options.new_in is not None and not version(options.new_in):
        parser.error(f"--new-in: {options.new_in} is not a release, which begins with a number, such as 7.3")
    try:
        from netconsd.store.patterns import patterns
        from netconsd.store.query import Query
    except ModuleNotFoundError as error:
        if error.name != "pyarrow":
            raise
        print(f'{prog}: needs pyarrow, which is not installed: pip install "netconsd[store]"', file=sys.stderr)
        return 2
    try:
        Query(grep=options.grep)
    except ValueError as error:
        parser.error(f"--{error}")
    faults: list[str] = []
    directory = place_of(options, prog).directory
    try:
        spans = list(read(directory, faults.append))
    except OSError as error:
        print(f"{prog}: {unreadable(error, directory)}", file=sys.stderr)
        return 2
    for fault in faults:
        print(f"{prog}: {printable(fault)}", file=sys.stderr)
    everywhere = patterns(span.table for span in spans)
    recent = [span for span in spans if since is None or span.last >= since]
    found = list((everywhere if since is None else patterns(span.table for span in recent)).values())
    if options.level is not None:
        most, least = options.level
        found = [each for each in found if each.level is not None and most <= each.level <= least]
    if options.grep is not None:
        found = matching(found, options.grep)
    ratios: dict[str, float] = {}
    start = now - 86400.0 if since is None else since
    if options.rising:
        ratios = rising(spans, start, now, patterns)
        found = [each for each in found if ratios.get(each.form, 0.0) >= RISING]
    elif since is not None:
        found = [each for each in found if each.last >= since]
    if options.new_in is not None:
        # New in the whole store: a pattern of an old kernel is not new because it was not seen of late.
        found = [each for each in found if new_in(everywhere[each.form], options.new_in)]
    found.sort(key=lambda each: _order(each, options, ratios))
    shown = found if options.lines == 0 else found[: options.lines]
    # When it was first seen at all, not since --since.
    _print(shown, {each.form: everywhere[each.form].first for each in shown}, ratios, options.json, prog)
    if len(shown) < len(found):
        print(f"{prog}: {plural(len(found) - len(shown), 'pattern')} more; -n 0 shows all", file=sys.stderr)
    for text in _hints(options, spans, everywhere, bool(found or faults), start):
        print(f"{prog}: {text}", file=sys.stderr)
    return 2 if faults else 0 if found else 1


def _order(pattern: Pattern, options: argparse.Namespace, ratios: dict[str, float]) -> tuple[Any, ...]:
    """Return the key of a pattern: the steepest first; of a new kernel the most severe; then the most frequent."""
    severity = (8 if pattern.level is None else pattern.level) if options.new_in is not None else 0
    return -ratios.get(pattern.form, 0.0), severity, -pattern.count, pattern.form


def _hints(
    options: argparse.Namespace, spans: Sequence[Span], everywhere: dict[str, Pattern], found: bool, start: float
) -> Iterator[str]:
    """Yield texts for a result that can mean something else than it seems to."""
    if options.new_in is not None:
        least = version(options.new_in)
        releases = {name for pattern in everywhere.values() for name in pattern.releases if version(name)}
        new = {name for name in releases if version(name)[: len(least)] >= least}
        known = ", ".join(sorted(map(printable, releases), key=lambda name: (version(name), name))) or "none"
        if not new:
            yield f"no kernel of {options.new_in} or later sent its release; the store has: {known}"
        elif new == releases:
            yield f"no kernel before {options.new_in} sent its release: everything is new; the store has: {known}"
    if options.rising and not any((span.first + span.last) / 2 < start for span in spans):
        begun = time.strftime("%Y-%m-%d %H:%M", time.localtime(start))
        yield f"no messages are older than {begun} (--since), so that nothing can be compared"
    elif not found:
        yield "no pattern was found"


def matching(found: Sequence[Pattern], grep: str) -> list[Pattern]:
    """Return the patterns whose form or example matches an expression of RE2, with smart case."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from netconsd.store.query import smart_case

    def mask(texts: list[str]) -> list[bool]:
        result: list[bool] = pc.match_substring_regex(
            pa.array(texts, pa.string()), grep, ignore_case=smart_case(grep)
        ).to_pylist()
        return result

    forms, examples = mask([each.form for each in found]), mask([each.example for each in found])
    return [each for each, form, example in zip(found, forms, examples, strict=True) if form or example]


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=prog, description=_DESCRIPTION, allow_abbrev=False)
    add = parser.add_argument
    add_store(parser)
    add("-g", "--grep", metavar="REGEX", help="patterns whose form or example matches, as of netconsd log")
    add(
        "-S", "--since", metavar="TIME", help='patterns with a message since a time, such as "2h", "yesterday", "07:00"'
    )
    add("--new-in", metavar="RELEASE", help="patterns of kernels from this release on, and of none before")
    add("--rising", action="store_true", help=f"patterns {RISING:g} times as frequent since --since [1d] as before")
    add(
        *("-p", "--level"),
        type=levels,
        metavar="LEVEL",
        help="patterns whose most severe message has this level or a more severe one, or one of a range: err..warn",
    )
    add("-n", "--lines", type=_count, default=LINES, metavar="N", help=f"at most so many; 0 for all [default: {LINES}]")
    add("--json", action="store_true", help="print one JSON object a line")
    return parser


def _count(text: str) -> int:
    if not re.fullmatch(r"\d{1,9}", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"{text} is not a number of patterns")
    return int(text)


def read(directory: Path, fault: Callable[[str], object]) -> Iterator[Span]:
    """Yield the patterns of all segments of a store, and of the journal: each message once.

    :param fault: called with a text for each segment or part that is damaged, and not read.
    :raises OSError: if the directory cannot be read, or is no store.
    """
    for trial in range(_TRIALS):
        faults: list[str] = []
        try:
            spans = list(_read(directory, faults.append))
        except FileNotFoundError:
            # The compactor has removed a file that was listed; what replaces it is in the next listing.
            if trial == _TRIALS - 1 or not directory.is_dir():
                raise
            continue
        for text in faults:
            fault(text)
        yield from spans
        return


def _read(directory: Path, fault: Callable[[str], object]) -> Iterator[Span]:
    from netconsd.store import index, journal, layout
    from netconsd.store.records import Damaged

    # The journal first: a part that becomes a segment meanwhile is in both, and the segment says so.
    parts = journal.parts(directory / layout.JOURNAL)
    indexes = []
    for file in layout.segment_files(directory):
        try:
            indexes.append((file, index.read(file.index)))
        except Damaged as error:
            fault(f"{file.index}: {error}; its messages are not counted")
    replaced = {name for _, one in indexes for name in one.about.replaces}
    done = {number for _, one in indexes for number in one.about.parts}
    for file, one in indexes:
        if file.name in replaced:
            continue
        try:
            table = one.table("patterns")
        except Damaged as error:
            fault(f"{file.index}: {error}; its messages are not counted")
            continue
        if table is None:
            fault(f"{file.index}: has no patterns; its messages are not counted")
        else:
            yield Span(one.first / 1e6, one.last / 1e6, table)
    for part in parts:
        if part.number not in done:
            try:
                span = _of_part(part.path)
            except Damaged as error:
                fault(f"{part.path}: {error}; its messages are not counted")
                continue
            if span is not None:
                yield span


def _of_part(path: Path) -> Span | None:
    """Return the patterns of a part of the journal; None if it has no message."""
    import pyarrow as pa

    from netconsd.store import journal
    from netconsd.store.patterns import Sums
    from netconsd.store.records import unpack

    messages = [message for _, records, _ in journal.read(path) for message in unpack(records)]
    if not messages:
        return None
    messages.sort(key=lambda message: message.source.packed)
    table = pa.table(
        {
            "host": [message.source.address for message in messages],
            "received_at": pa.array(
                [round(message.received_at * 1e6) for message in messages], pa.timestamp("us", tz="UTC")
            ),
            "level": pa.array([message.level for message in messages], pa.int8()),
            "release": pa.array([getattr(message, "release", None) for message in messages], pa.string()),
            "text": [message.text.encode(errors="replace").decode() for message in messages],
        }
    )
    sums = Sums()
    sums.add(table)
    times = [message.received_at for message in messages]
    return Span(min(times), max(times), sums.table())


def version(release: str) -> tuple[int, ...]:
    """Return the numbers with which a release begins: ``6.12.3-amd64`` is (6, 12, 3); none for another text."""
    match = re.match(r"\d+(?:\.\d+)*", release, re.ASCII)
    return tuple(int(part[:9]) for part in match[0].split(".")) if match else ()


def new_in(pattern: Pattern, release: str) -> int:
    """Return the messages of a pattern from kernels of this release on; 0 if an older kernel has it as well."""
    least = version(release)
    older = [name for name in pattern.releases if version(name) and version(name)[: len(least)] < least]
    return (
        0 if older else sum(count for name, count in pattern.releases.items() if version(name)[: len(least)] >= least)
    )


def rising(
    spans: Sequence[Span], start: float, now: float, patterns: Callable[[Iterator[Any]], dict[str, Pattern]]
) -> dict[str, float]:
    """Return how many times as frequent each pattern is since ``start`` as before.

    A segment belongs to the time in which the middle of its messages is. A pattern that was never seen before counts as
    one that was seen once.
    """
    after = [span for span in spans if (span.first + span.last) / 2 >= start]
    before = [span for span in spans if (span.first + span.last) / 2 < start]
    if not before:
        return {}
    seconds = max(1.0, start - min(span.first for span in before)), max(1.0, now - start)
    old = patterns(span.table for span in before)
    rates = {}
    for form, pattern in patterns(span.table for span in after).items():
        known = old.get(form)
        rates[form] = (pattern.count / seconds[1]) / (max(1, known.count if known else 0) / seconds[0])
    return rates


def _print(
    shown: Sequence[Pattern],
    first: dict[str, float],
    ratios: dict[str, float],
    as_json: bool,
    prog: str,
) -> None:
    if as_json:
        for pattern in shown:
            put(json.dumps(_fields(pattern, first, ratios)), prog)
        return
    width = shutil.get_terminal_size((COLUMNS, 24)).columns if sys.stdout and sys.stdout.isatty() else 0
    narrow = 0 < width < _WIDE
    if shown:
        last = "kernels" if narrow else "pattern"
        put(f"{'messages':>9}  {'machines':>8}  {'first seen':16}  {'level':6}  {last}", prog)
    for pattern in shown:
        level = "-" if pattern.level is None else LEVELS[pattern.level]
        begun = time.strftime("%Y-%m-%d %H:%M", time.localtime(first[pattern.form]))
        head = f"{pattern.count:9}  {len(pattern.hosts):8}  {begun:16}  {level:6}  "
        releases = [f"{printable(name)}: {count}" for name, count in sorted(pattern.releases.items(), key=_by_version)]
        unknown = pattern.count - sum(pattern.releases.values())
        if releases and unknown:
            releases.append(f"no release: {unknown}")
        about = ", ".join(releases)
        if pattern.form in ratios:
            about = f"{ratios[pattern.form]:.1f} times as frequent" + (f"; {about}" if about else "")
        if narrow:
            # A pattern is read as a whole: it has the width of the terminal, below its numbers.
            _put(head, about or "-", _INDENT, width, prog)
            _put(" " * _NARROW_INDENT, printable(pattern.form), _NARROW_INDENT, width, prog)
        else:
            _put(head, printable(pattern.form), _INDENT, width, prog)
            if about:
                _put(" " * _INDENT, about, _INDENT, width, prog)


def _put(head: str, text: str, indent: int, width: int, prog: str) -> None:
    first, *rest = broken(text, width, len(head), indent)
    put("\n".join([head + first, *(" " * indent + line for line in rest)]), prog)


def _by_version(item: tuple[str, int]) -> tuple[tuple[int, ...], str]:
    return version(item[0]), item[0]


def _fields(pattern: Pattern, first: dict[str, float], ratios: dict[str, float]) -> dict[str, Any]:
    return {
        "form": pattern.form,
        "count": pattern.count,
        "hosts": len(pattern.hosts),
        "first": first[pattern.form],
        "last": pattern.last,
        "level": pattern.level,
        "releases": pattern.releases,
        "example": pattern.example,
        **({"ratio": ratios[pattern.form]} if pattern.form in ratios else {}),
    }
