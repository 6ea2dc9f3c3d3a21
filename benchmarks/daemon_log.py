"""Reads the daemon's log: the port, and the totals at the end. The only place that knows the wording of these lines."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field

#: "... listens on ..., UDP port 1514; ..."
LISTENING = re.compile(r"listens on .*, UDP port (\d+);")
#: "Total: 12 datagrams received, 10 messages from 1 sender"
_TOTALS = re.compile(r"Total: (\d+) datagrams? received, (\d+) messages? from (\d+) senders?")
#: "3 datagrams dropped because the queue of the worker was full (dropped_queue_full)"
_NOTABLE = re.compile(r"(?:\] |netconsd: (?:warning: )?)(\d+) .*\((\w+)\)$", re.MULTILINE)
#: "Worker 0: 5 messages from 1 sender; datagrams 6, missing 1"
_WORKER = re.compile(r"Worker \d+: \d+ messages? from \d+ senders?; (.*)")
_FAILURES = re.compile(
    r"Module .* failed.*|.*calls? failed.*|Worker .* failed.*|Reading failed.*|The counters are inconsistent.*"
)
_COUNTER = re.compile(r"(\w+) (\d+)")


class LogError(Exception):
    """The daemon logged no totals, or a failure; with the end of its log."""


@dataclass(frozen=True)
class Totals:
    """The counters of a receiver."""

    datagrams: int
    messages: int
    senders: int
    """0 if the receiver does not distinguish senders."""
    notes: dict[str, int]
    """Other counters that are not 0, such as ``dropped_by_kernel``."""
    workers: dict[str, int] = field(default_factory=dict)
    """The sums of the workers' counters that are not 0."""


def totals(log: str) -> Totals:
    """Read the totals at the end of a log.

    :raises LogError: if there are none, or the daemon logged a failure.
    """
    match = _TOTALS.search(log)
    if not match:
        raise LogError(f"the daemon's log has no totals:\n{log[-2000:]}")
    failures = _FAILURES.findall(log)
    if failures:
        raise LogError("\n".join(failures[:5]) + f"\n{log[-2000:]}")
    datagrams, messages, senders = map(int, match.groups())
    workers: Counter[str] = Counter()
    for counters in _WORKER.findall(log):
        workers.update(_counters(counters))
    return Totals(datagrams, messages, senders, notable(log), dict(workers))


def notable(log: str) -> dict[str, int]:
    """Read the notable counters of the totals, which are not 0, from a log of either form."""
    return {name: int(count) for count, name in _NOTABLE.findall(log)}


def _counters(text: str) -> dict[str, int]:
    return {name: int(count) for name, count in _COUNTER.findall(text)}
