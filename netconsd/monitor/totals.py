"""What the daemon says at its end: the whole ledger, in lines for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from netconsd.monitor.snapshot import Snapshot

#: The counters of docs/counters that the totals name once more if they are not zero.
OF_NOTE = (
    "dropped_by_kernel",
    "dropped_queue_full",
    "dropped_error",
    "truncated",
    "dropped_bad_address",
    "dropped_not_allowed",
    "dropped_read_error",
    "read_errors",
    "malformed",
    "dropped_duplicate",
    "dropped_empty",
    "dropped_over_rate",
    "late",
    "incomplete",
    "dropped_superseded",
    "replayed",
    "lost",
    "missing",
    "released_early",
    "senders_expired",
    "senders_evicted",
    "acks_sent",
    "acks_failed",
    "acks_dropped",
)


def totals(accounts: Snapshot) -> Iterator[str]:
    """One line for each listener, worker and module, one for all, and one for what is worth knowing.

    Counters that are not named are zero.
    """
    for listener in accounts.listeners:
        counted = _list(listener.counters, without=("datagrams",))
        yield f"Listener {listener.number}: {listener.counters['datagrams']} datagrams{counted}"
    for worker in accounts.workers:
        counters = worker.counters
        yield (
            f"Worker {worker.number}: {counters['messages']} messages from {counters['senders_new']} senders"
            f"{_list(counters, without=('messages', 'senders_new'))}"
        )
    for name in dict.fromkeys(module.name for module in accounts.modules):
        parts = [module for module in accounts.modules if module.name == name]
        messages, batches = sum(part.messages for part in parts), sum(part.batches for part in parts)
        seconds, errors = sum(part.seconds for part in parts), sum(part.errors for part in parts)
        failed = f", errors {errors}" if errors else ""
        lost = sum(part.lost for part in parts)
        failed += f", lost {lost}" if lost else ""
        yield f"Module {name}: {messages} messages in {batches} batches, {seconds:.3f} seconds{failed}"
    yield (
        f"In all: {accounts.received} datagrams received, {accounts.total('messages')} messages "
        f"from {accounts.total('senders_new')} senders"
    )
    noted = {
        "dropped_at_stop": sum(worker.dropped_at_stop for worker in accounts.workers),
        "lost_by_modules": sum(module.lost for module in accounts.modules),
    }
    of_note = _list({**{name: accounts.total(name) for name in OF_NOTE}, **noted})
    if of_note:
        yield f"Of note: {of_note.removeprefix('; ')}"


def _list(counters: Mapping[str, int], without: tuple[str, ...] = ()) -> str:
    """Those that are not zero, behind a semicolon."""
    listed = ", ".join(f"{name} {count}" for name, count in counters.items() if count and name not in without)
    return f"; {listed}" if listed else ""
