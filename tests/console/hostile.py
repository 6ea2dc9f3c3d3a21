"""Answers in which every text of a stranger is an attack, for :mod:`scripted_console`."""

from __future__ import annotations

from typing import Any, Final

from tests.console.answers import BEGIN, STATUS, events, found, plain_object
from tests.console.scripted_console import ScriptedConsole

#: Markup, SVG, a script's end, a template of htm, bidi and control characters, an escape sequence, a link.
TEXTS: Final = (
    "<img src=x onerror=window.attacked=1>",
    '<svg/onload="window.attacked=2"><script>window.attacked=3</script>',
    "</pre></script><script>window.attacked=4</script>",
    "${window.attacked=5} {{attacked}} javascript:window.attacked=6",
    "safe\u202e\u2066gnp.exe\u2069\u200b\u200f hidden\u00adword",
    "\x1b[2J\x1b]0;title\x07\x00\x08\x7f\x9b31m bell",
    "line one\rline two\u2028line three\n<b>line four</b>",
    "\ud800 lone, \U000e0041 tag, \ufeff bom, \ue000 private",
    "' onmouseover='window.attacked=7' x=\" onfocus=\"window.attacked=8",
    "Z\u0335\u0336\u0337a\u0335\u0336l\u0335g\u0336o" + "\u0336" * 40,
)
HOST: Final = "192.0.2.66"


def hostile_console() -> ScriptedConsole:
    """Return a console all of whose answers are hostile."""
    console = ScriptedConsole()
    evil = " ".join(TEXTS)
    messages = [
        plain_object(
            number,
            text,
            name=text,
            address=HOST,
            taskname=text,
            caller=text,
            release=text,
            dictionary={"SUBSYSTEM": text},
            userdata={"role": text, text: text},
            id=f"{HOST}/1795849100/{number}",
            level=number % 8,
            lost=number % 3,
        )
        for number, text in enumerate(TEXTS)
    ]
    row = {"text": evil, "level": 2, "received_at": BEGIN, "ts_usec": 1, "caller": evil, "seq": 1}
    host = {
        "address": HOST,
        "port": 6665,
        "name": evil,
        "first": BEGIN,
        "last": BEGIN + 9,
        "messages": 10,
        "levels": [1] * 8,
        "boots": 1,
        "boot": 1795849100,
        "release": evil,
        "lost": 1,
        "likely_lost": 1,
        "limited": 1,
        "crashes": 1,
        "userdata": {"role": evil, evil: evil},
        "silent_for": 5.0,
    }
    event = {"kind": "lost", "address": HOST, "port": 1, "received_at": BEGIN, "text": evil, "details": {evil: evil}}
    group = {
        "id": "0123456789ab",
        "title": evil,
        "kind": "bug",
        "severity": "dead",
        "state": "regressed",
        "muted": False,
        "count": 3,
        "fatal": 1,
        "incomplete": 1,
        "machines": {HOST: [3, BEGIN, BEGIN + 1]},
        "releases": {evil: [3, BEGIN, BEGIN + 1]},
        "first": BEGIN,
        "last": BEGIN + 1,
        "sparkline": [1] * 24,
        "lone_machine": HOST,
        "new_in": evil,
        "why": [evil],
        "merged_from": [{"id": "ba9876543210", "title": evil}],
        "names_of": {HOST: evil},
    }
    report: dict[str, Any] = {
        "id": "2026-11-28-0",
        "host": HOST,
        "at": BEGIN,
        "title": evil,
        "release": evil,
        "fatal": True,
    }
    report |= {"severity": "dead", "incomplete": evil, "repeats": 1}
    crash = group | {
        "sample": {
            "id": "2026-11-28-0",
            "title": evil,
            "function": evil,
            "module": evil,
            "comm": evil,
            "release": evil,
            "machine": evil,
            "taint": [evil],
            "incomplete": evil,
            "consequence_of": evil,
            "source": {"address": HOST, "port": 1},
            "pid": 1,
            "frames": [{"name": "evil", "questionable": False}],
            "messages": [row, row | {"text": f" ? {evil}"}],
            "received_at": BEGIN,
            "cpu": 1,
            "severity": "dead",
        },
        "before": [row],
        "reports": [report, report | {"id": "2026-11-28-9"}],
        "history": [{"who": evil, "when": BEGIN, "what": "mute", "why": evil}],
    }
    finding = {
        "kind": "report",
        "finding": {"format": "report", "title": evil, "received_at": BEGIN, "group": "0123456789ab"},
    }
    finding["finding"] |= {"source": {"address": HOST, "port": 1}, "severity": "dead"}  # type: ignore[operator]
    console.answers = {
        "status": lambda _: STATUS,
        "messages": lambda _: found(messages),
        "live": lambda _: events(
            *(("message", one) for one in messages),
            ("finding", finding),
            ("finding", {"kind": "event", "finding": event}),
            ("rate", {"levels": [1] * 9}),
            ("dropped", {"count": 3}),
            ended=console.ended,
        ),
        "context": lambda _: {"messages": messages, "at": 4},
        "counts": lambda _: {"step": 60, "buckets": [[BEGIN, *range(9)], [BEGIN + 120, *range(9)]]},
        "hosts": lambda _: {"hosts": [host]},
        "hosts/*": lambda _: (
            host
            | {
                "boots": [
                    {
                        "boot": 1795849100,
                        "first": BEGIN,
                        "last": BEGIN + 9,
                        "messages": 10,
                        "lost": 1,
                        "release": evil,
                        "how_ended": evil,
                        "crashes": 1,
                    }
                ],
                "events": [event],
                "reports": [report],
            }
        ),
        "crashes": lambda _: {"groups": [group, group | {"id": "ba9876543210"}]},
        "crashes/*": lambda _: crash,
        "patterns": lambda _: {
            "patterns": [
                {
                    "form": evil,
                    "level": 3,
                    "count": 3,
                    "machines": 1,
                    "hosts": [HOST],
                    "first": BEGIN,
                    "last": BEGIN,
                    "releases": {evil: 1},
                    "example": evil,
                    "rise": 5.0,
                }
            ]
        },
        "receiver": lambda _: {
            "counters": {"dropped_by_kernel": 3, "dropped_malformed": 0},
            "help": {},
            "ledger": {
                "received": 10,
                "messages": 7,
                "modules": {evil: {"messages": 7, "lost": 1, "dropped_queue_full": 1}},
            },
            "modules": [{"name": evil, "worker": 0, "messages": 7, "seconds": 0.1, "errors": 1}],
            "workers": [
                {"number": 0, "alive": True, "queued": 0, "held": 0, "senders": 1, "delay": {"p50": 0.001, "p99": None}}
            ],
            "listeners": [
                {"number": 0, "counters": {"datagrams": 10}, "buffer_used": 1, "buffer_size": 2, "problem": evil}
            ],
            "silent": [{"address": HOST, "since": BEGIN, "silent_for": 3.0}],
            "copies": {
                "receivers": [{"receiver": evil, "messages": 7, "copies": 3, "missed": 1, "last": BEGIN}],
                "most_missed": [{"address": HOST, "receiver": "a1b2c3d4e5f6", "missed": 1}],
            },
        },
    }
    return console
