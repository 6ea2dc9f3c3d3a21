"""The recordings of kernels that crashed, and the same messages written as other programs write logs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from netconsd.jsonl import json_lines
from netconsd.logger.lines import log_lines
from netconsd.protocol.counters import WorkerCounters
from netconsd.protocol.message import Message
from netconsd.protocol.table import SourceTable
from netconsd.read.objects import UNKNOWN_SENDER
from netconsd.rendering import LEVELS, netconsd_line, uptime

#: The directory, beside the checkout; missing in a source distribution.
DIRECTORY = Path(__file__).parents[2].parent / "shared" / "captures"
# 2026-11-28 07:00:00 UTC.
_BEGIN = 1795849200.0


@cache
def messages(path: Path) -> tuple[Message, ...]:
    """The messages of a recording, as the daemon would deliver them, received from 2026-11-28 07:00:00 UTC on."""
    table = SourceTable(WorkerCounters(), limit=10, reorder_time=0.2, gc_interval=0.0, age=0.0)
    found: list[Message] = []
    for line in path.read_text().splitlines():
        record = json.loads(line)
        found += table.feed(
            [UNKNOWN_SENDER], [record["data"].encode("latin-1")], _BEGIN + record["t"], _BEGIN + record["t"]
        )
    return tuple(found + table.flush())


def _by_line(form: Callable[[Message, str], str]) -> Callable[[Sequence[Message]], bytes]:
    """A writer that calls ``form`` for each line of each message's text."""

    def written(messages: Sequence[Message]) -> bytes:
        return "".join(
            [form(message, line) + "\n" for message in messages for line in message.text.split("\n")]
        ).encode()

    return written


def _caller(message: Message) -> str:
    return f"[{message.caller:>6}]" if message.caller else ""


def _clock(message: Message, form: str) -> str:
    return time.strftime(form, time.gmtime(message.received_at))


def _journal(message: Message, line: str) -> str:
    fields = {
        "__REALTIME_TIMESTAMP": str(int(message.received_at * 1_000_000)),
        "_SOURCE_MONOTONIC_TIMESTAMP": str(message.ts_usec),
        "_HOSTNAME": "web01",
        "_TRANSPORT": "kernel",
        "PRIORITY": str(message.level or 0),
        "SYSLOG_FACILITY": "0",
        "SYSLOG_IDENTIFIER": "kernel",
        # As journalctl writes text that has control characters.
        "MESSAGE": line if line.isprintable() else list(line.encode()),
    }
    return json.dumps(fields)


#: The forms, each with a function that writes messages.
FORMS: dict[str, Callable[[Sequence[Message]], bytes]] = {
    "console": _by_line(lambda message, line: f"{uptime(message.ts_usec)}{_caller(message)} {line}\r"),
    "console with levels": _by_line(
        lambda message, line: f"<{message.level}>{uptime(message.ts_usec)}{_caller(message)} {line}"
    ),
    "colours": _by_line(
        lambda message, line: f"\x1b[32m{uptime(message.ts_usec)}{_caller(message)} \x1b[0m\x1b[1m{line}\x1b[0m\r"
    ),
    "conserver": _by_line(
        lambda message, line: (
            f"[{_clock(message, '%a %b %e %H:%M:%S %Y')}]{uptime(message.ts_usec)}{_caller(message)} {line}"
        )
    ),
    "ts": _by_line(
        lambda message, line: f"{_clock(message, '%b %d %H:%M:%S')} {uptime(message.ts_usec)}{_caller(message)} {line}"
    ),
    "dmesg --decode": _by_line(
        lambda message, line: (
            f"kern  :{LEVELS[message.level or 0]:6}: {uptime(message.ts_usec)}{_caller(message)} {line}"
        )
    ),
    "syslog": _by_line(
        lambda message, line: (
            f"{_clock(message, '%b %e %H:%M:%S')} web01 kernel: {uptime(message.ts_usec)}{_caller(message)} {line}"
        )
    ),
    "rsyslog": _by_line(
        lambda message, line: (
            f"{_clock(message, '%Y-%m-%dT%H:%M:%S.123456+00:00')} web01 kernel: "
            f"{uptime(message.ts_usec)}{_caller(message)} {line}"
        )
    ),
    "journalctl -o short-monotonic": _by_line(
        lambda message, line: (
            f"{uptime(message.ts_usec)} web01 kernel: {_caller(message)} {line}"
            if message.caller
            else f"{uptime(message.ts_usec)} web01 kernel: {line}"
        )
    ),
    "journalctl -o json": _by_line(_journal),
    "logger": log_lines,
    "jsonl": json_lines,
    "C printer": lambda messages: "".join([f"{netconsd_line(message)}\n" for message in messages]).encode(),
}
