"""The state of the running daemon as an object: the ledger of datagrams, modules, queues, delays, silent machines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from netconsd.monitor.snapshot import BROKER, MODULE_COUNTERS, WORKER_ROWS
from netconsd.protocol.counters import LISTENER_COUNTERS, RECEIVER_COUNTERS

if TYPE_CHECKING:
    from netconsd.monitor.snapshot import Snapshot
    from netconsd.receive.histogram import Histogram
    from netconsd.streams.copies import Summary

_QUANTILES: Final = (0.5, 0.9, 0.99)


def snapshot_fields(snapshot: Snapshot, silent: Mapping[str, float], now: float) -> dict[str, Any]:
    """Return a snapshot as an object.

    :param silent: addresses of silent machines, with the times since which they are.
    :param now: Unix time.
    """
    # Both have "datagrams" and "bytes": a datagram is counted in each.
    totals: dict[str, int | None]
    totals = {row.name: sum(one.counters[row.name] for one in snapshot.workers) for row in WORKER_ROWS}
    totals |= {row.name: _sum(one.counters[row.name] for one in snapshot.listeners) for row in LISTENER_COUNTERS}
    return {
        "now": now,
        "counters": totals,
        "help": {row.name: row.help for row in (*LISTENER_COUNTERS, *WORKER_ROWS)},
        "ledger": {
            "received": snapshot.received,
            "by_kernel_dropped": totals.get("dropped_by_kernel"),
            "lost": {name: count for name, count in totals.items() if name.startswith("dropped") and count},
            "messages": totals.get("messages"),
            "modules": {
                name: {
                    "messages": sum(one.messages for one in snapshot.modules if one.name == name),
                    "lost": _sum(one.lost for one in snapshot.modules if one.name == name),
                    "dropped_queue_full": sum(one.dropped_queue_full for one in snapshot.modules if one.name == name),
                }
                for name in dict.fromkeys(one.name for one in snapshot.modules)
            },
        },
        "listeners": [
            {
                "number": one.number,
                "counters": dict(one.counters),
                "buffer_used": one.buffer_used,
                "buffer_size": one.buffer_size,
                "failing": one.failing,
                "problem": one.problem,
            }
            for one in snapshot.listeners
        ],
        "workers": [
            {
                "number": one.number,
                "alive": one.alive,
                "counters": dict(one.counters),
                "queued": one.queued,
                "held": one.held,
                "senders": one.senders,
                "open_reports": one.open_reports,
                "delay": quantiles(one.delays),
            }
            for one in snapshot.workers
        ],
        "modules": [asdict(one) for one in snapshot.modules],
        "module_help": {row.name: row.help for row in MODULE_COUNTERS},
        "silent": [
            {"address": address, "since": since, "silent_for": now - since} for address, since in silent.items()
        ],
        "broker": broker_fields(snapshot),
        "copies": None if snapshot.copies is None else copies_fields(snapshot.copies),
        "copies_help": {row.name: row.help for row in RECEIVER_COUNTERS},
    }


def broker_fields(snapshot: Snapshot) -> dict[str, Any] | None:
    """Return the numbers of a processor's broker, and why messages are not taken; None in a receiver."""
    if snapshot.copies is None:
        return None
    for own in snapshot.own:
        if own.name == BROKER:
            return {
                "faults": list(own.faults),
                "numbers": {each.name.removeprefix("broker_"): each.value for each in own.metrics},
                "help": {each.name.removeprefix("broker_"): each.help for each in own.metrics},
            }
    return None


def copies_fields(copies: Summary) -> dict[str, Any]:
    """Return what the messages of several receivers became, as an object.

    The id of a receiver is in hexadecimal digits, and its name empty if it has none. ``missed`` is without those that
    came late.
    """
    return {
        "receivers": [
            {
                "receiver": heard.receiver.hex(),
                "name": copies.names.get(heard.receiver, ""),
                "messages": heard.messages,
                "copies": heard.copies,
                "missed": max(0, heard.missed - heard.late),
                "late": heard.late,
                "completed": heard.completed,
                "last": heard.received_at or None,
            }
            for heard in copies.receivers
        ],
        "handed_on": copies.handed_on,
        "held": copies.held,
        "hosts": copies.hosts,
        "forgotten": copies.forgotten,
        "most_missed": [
            {
                "address": host.address,
                "receiver": host.receiver.hex(),
                "name": copies.names.get(host.receiver, ""),
                "missed": host.missed,
            }
            for host in copies.most_missed
        ],
    }


def _sum(numbers: Any) -> int | None:
    found = list(numbers)
    return None if None in found else sum(found)


def quantiles(delays: Histogram) -> dict[str, float | None]:
    """Return upper bounds of the delays of so large a part of the messages; None without messages, and beyond the last
    bound."""
    total = sum(delays.counts)
    found: dict[str, float | None] = {}
    for part in _QUANTILES:
        seen = 0
        found[f"p{part * 100:g}"] = None
        if not total:
            continue
        for bound, count in zip(delays.bounds, delays.counts, strict=False):
            seen += count
            if seen >= part * total:
                found[f"p{part * 100:g}"] = bound
                break
    return found
