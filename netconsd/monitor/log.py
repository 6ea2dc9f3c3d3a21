"""Log lines at the start, while datagrams are dropped, and at the end, with the totals of all counters.

Pure: the log and the time are arguments. Programs read the lines of the totals: ``Listener 0: ``, ``Worker 0: `` and
``Module x: ``, which are there if something was lost, are followed by numbers and names, and a notable counter's line
ends with its name in parentheses.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from twisted.logger import Logger

import netconsd
from netconsd.build import KIND
from netconsd.monitor import gil
from netconsd.monitor.snapshot import WORKER_ROWS, Snapshot
from netconsd.outputs.runner import RunningModule
from netconsd.protocol.counters import LISTENER_COUNTERS, Counter
from netconsd.protocol.message import Source
from netconsd.protocol.plural import plural
from netconsd.settings import Settings

# An overload must not fill the log, so it is logged once per interval; after an interval without drops it is over.
QUIET_SECONDS = 60.0
# Senders that a line about --rate names.
LIMITED_NAMES = 4

#: The notable sums that are no counters of a listener or worker.
SUMS = (
    Counter(
        "dropped_at_stop",
        "Messages dropped at the stop because a module did not return; a datagram in a queue counts as one.",
        "",
    ),
    Counter("reports_at_stop", "Senders whose open crash report was dropped at the stop: a module did not return.", ""),
    Counter("dropped_by_modules", "Messages dropped because the queue of a module was full.", ""),
    Counter("lost_by_modules", "Messages that modules could not write or send.", ""),
    Counter("unknown_losses", "Failures that lost an unknown number of a module's messages.", ""),
)

#: Notable counters that are no loss: beside them the totals need no lines of the listeners, workers and modules.
WITHOUT_LOSS = ("senders_expired", "acks_sent")

Counts = Sequence[int]


def log_start(
    log: Logger,
    settings: Settings,
    where: str,
    listeners: int,
    modules: Sequence[str],
    granted: int,
    metrics_url: str | None,
) -> None:
    """Log the address, the modules and the metrics' URL; warn if the receive buffer is smaller than ``--rcvbuf``.

    :param where: the addresses and the port, in words.
    :param granted: bytes of receive buffer that the kernel granted.
    """
    log.info(
        "netconsd {version} ({kind}) listens on {where}; {listeners}, {workers}, modules: {modules}",
        version=netconsd.__version__,
        kind=KIND,
        where=where,
        listeners=plural(listeners, "listener"),
        workers=plural(settings.workers, "worker"),
        modules=", ".join(modules) or "none, so messages are dropped",
    )
    if text := gil.described():
        (log.warn if gil.is_enabled() else log.info)("{text}", text=text)
    if settings.allow:
        log.info("Datagrams are accepted from {networks} only (--allow)", networks=", ".join(settings.allow))
    if metrics_url is not None:
        log.info("Metrics are at {url}", url=metrics_url)
    if granted < settings.rcvbuf:
        log.warn(
            "The kernel granted a receive buffer of {granted} bytes instead of {wanted}: it may drop datagrams of a "
            "burst. Run 'sysctl -w net.core.rmem_max={wanted}', or give the daemon CAP_NET_ADMIN, or lower --rcvbuf",
            granted=granted,
            wanted=settings.rcvbuf,
        )


class _Course:
    """The course of drops of one kind: its growth is due for the log at once, then once per :data:`QUIET_SECONDS`."""

    def __init__(self, *counts: Counts) -> None:
        self._last = self._logged = self._before = counts
        self._dropped_at = self._logged_at = float("-inf")
        self._began_at: float | None = None

    def growth(self, counts: tuple[Counts, ...], now: float) -> list[tuple[int, str]]:
        """For each of the counts, the growth to log now and the numbers of those that grew; empty if none is due."""
        if counts != self._last:
            self._last = counts
            self._dropped_at = now
            if self._began_at is None:
                self._began_at = now
        if counts == self._logged or now - self._logged_at < QUIET_SECONDS:
            return []
        before, self._logged, self._logged_at = self._logged, counts, now
        return [_growth(old, new) for old, new in zip(before, counts, strict=True)]

    def end(self, now: float) -> tuple[int, float] | None:
        """The drops, and the seconds that they took, once after :data:`QUIET_SECONDS` without any."""
        if self._began_at is None or self._logged != self._last or now - self._dropped_at < QUIET_SECONDS:
            return None
        count = sum(map(sum, self._last)) - sum(map(sum, self._before))
        seconds = self._dropped_at - self._began_at
        self._before = self._last
        self._began_at = None
        return count, seconds


class DropLog:
    """Logs drops of datagrams: their beginning at once, their course once per :data:`QUIET_SECONDS`, and their end.

    An overload, strangers and senders over ``--rate`` are logged independently, so that one does not delay another.
    """

    def __init__(
        self, log: Logger, by_kernel: Counts, queue_full: Counts, not_allowed: Counts = (), over_rate: Counts = ()
    ) -> None:
        """
        :param by_kernel: datagrams of each listener that the kernel has dropped so far.
        :param queue_full: datagrams that the full queue of each worker has dropped so far.
        :param not_allowed: datagrams of each listener whose sender is not in ``--allow``.
        :param over_rate: datagrams of each worker that were over ``--rate``.
        """
        self._log = log
        self._overload = _Course(tuple(by_kernel), tuple(queue_full))
        self._strangers = _Course(tuple(not_allowed))
        self._rate = _Course(tuple(over_rate))
        # Senders whose limitation has begun since the last line about --rate: the latest, and their number.
        self._limited: list[Source] = []
        self._limited_count = 0

    def update(
        self,
        by_kernel: Counts,
        queue_full: Counts,
        now: float,
        not_allowed: Counts | None = None,
        over_rate: Counts | None = None,
        limited: Sequence[Source] = (),
        limited_count: int = 0,
    ) -> None:
        """Compare the counts with those of the last call, and log the change if it is due.

        :param now: monotonic seconds.
        :param not_allowed: None if unknown, as ``over_rate``.
        :param limited: the latest senders that have begun to exceed ``--rate`` since the last call.
        :param limited_count: the number of these senders.
        """
        overload = self._overload.growth((tuple(by_kernel), tuple(queue_full)), now)
        if overload:
            self._warn(*_overload(*overload))
        strangers = [] if not_allowed is None else self._strangers.growth((tuple(not_allowed),), now)
        if strangers:
            ((count, listeners),) = strangers
            self._warn(f"{count} at listener {listeners}, because their senders are not in --allow")
        self._limited = [*self._limited, *limited][-LIMITED_NAMES:]
        self._limited_count += limited_count
        rate = [] if over_rate is None else self._rate.growth((tuple(over_rate),), now)
        if rate:
            ((count, workers),) = rate
            self._warn(
                f"{count} over --rate at worker {workers}{self._of_senders()} (raise --rate, or mend the sender)"
            )
            self._limited, self._limited_count = [], 0
        self._log_end("No datagram has been dropped", self._overload.end(now))
        self._log_end("No datagram has been dropped because of --allow", self._strangers.end(now))
        self._log_end("No datagram has been over --rate", self._rate.end(now))

    def _warn(self, *parts: str) -> None:
        self._log.warn("Datagrams are being dropped: {parts}", parts="; ".join(parts))

    def _of_senders(self) -> str:
        if not self._limited:
            return ""
        names = ", ".join(f"{source.address} port {source.port}" for source in self._limited)
        others = self._limited_count - len(self._limited)
        return f", of {names}" + (f" and {plural(others, 'other sender')}" if others > 0 else "")

    def _log_end(self, what: str, end: tuple[int, float] | None) -> None:
        if end is not None:
            count, seconds = end
            self._log.info(
                "{what} for {quiet:.0f} seconds; {datagrams} dropped in the {before} before",
                what=what,
                quiet=QUIET_SECONDS,
                datagrams=f"{plural(count, 'datagram')} {'was' if count == 1 else 'were'}",
                before=plural(round(seconds + 1), "second"),
            )


def _overload(by_kernel: tuple[int, str], queue_full: tuple[int, str]) -> Iterator[str]:
    count, listeners = by_kernel
    if count:
        yield (
            f"{count} by the kernel at listener {listeners}, because the receive buffer was full or a checksum "
            "was wrong (see --rcvbuf and --listeners)"
        )
    count, workers = queue_full
    if count:
        yield (
            f"{count} at the full queue of worker {workers}, because a module is too slow (see --queue, "
            "--workers and --rate)"
        )


def log_failures(log: Logger, outputs: Iterable[RunningModule]) -> None:
    """Warn of each module that raised exceptions, with their number."""
    for output in outputs:
        errors = sum(counters.errors for counters in output.counters) + output.reload_errors
        if errors:
            log.warn(
                "Module {name}: {calls} failed; it was called for {messages}",
                name=output.name,
                calls=plural(errors, "call"),
                messages=plural(sum(counters.messages for counters in output.counters), "message"),
            )


def log_end(log: Logger, snapshot: Snapshot) -> None:
    """Log the totals, and each inconsistency of the counters as an error."""
    inconsistencies = list(snapshot.inconsistencies())
    for line in totals(snapshot, of_parts=bool(inconsistencies)):
        log.info("{line}", line=line)
    for inconsistency in inconsistencies:
        log.error(
            "The counters are inconsistent, which is a defect of netconsd; please report it: {inconsistency}",
            inconsistency=inconsistency,
        )


def totals(snapshot: Snapshot, *, of_parts: bool = False) -> Iterator[str]:
    """One line for the sums, and one for each notable counter that is not 0.

    If something was lost, dropped or failed, a line for each listener, worker and module is before them, with its
    counters that are not 0.

    :param of_parts: yield these lines in any case.
    """
    notable = list(_notable(snapshot))
    if (
        of_parts
        or any(name not in WITHOUT_LOSS for name, _ in notable)
        or any(module.errors for module in snapshot.modules)
    ):
        yield from _of_parts(snapshot)
    senders = snapshot.total("senders_new")
    if snapshot.copies is not None:
        # A processor receives nothing from a socket, and tells of its broker itself.
        yield f"Total: {plural(snapshot.total('messages'), 'message')}"
        yield from (text for _, text in notable)
        return
    yield (
        f"Total: {plural(snapshot.received, 'datagram')} received, {_messages(snapshot.total('messages'), senders)}"
        + (" (addresses with their ports)" if senders > 1 else "")
    )
    yield from (text for _, text in notable)


def _of_parts(snapshot: Snapshot) -> Iterator[str]:
    for listener in snapshot.listeners:
        datagrams = plural(listener.counters["datagrams"] or 0, "datagram")
        yield f"Listener {listener.number}: {datagrams}{_list(listener.counters, without=('datagrams',))}"
    for worker in snapshot.workers:
        counters = worker.counters
        yield (
            f"Worker {worker.number}: {_messages(counters['messages'], counters['senders_new'])}"
            f"{_list(counters, without=('messages', 'senders_new'))}"
        )
    for name in dict.fromkeys(module.name for module in snapshot.modules):
        parts = [module for module in snapshot.modules if module.name == name]
        messages = plural(sum(part.messages for part in parts), "message")
        batches = plural(sum(part.batches for part in parts), "batch", "batches")
        seconds = sum(part.seconds for part in parts)
        names = ("errors", "dropped_queue_full", "dropped_at_stop", "lost", "unknown_losses", "dropped_findings")
        failures = {each: _sum(getattr(part, each) for part in parts) for each in names}
        failures["waiting"] = sum(part.waiting for part in parts)
        failures |= {each: sum(getattr(part, each) for part in parts) for each in ("reports", "events")}
        own = [metric for own in snapshot.own if own.name == name for metric in own.metrics if metric.counter]
        failures |= {metric.name: None if metric.value is None else int(metric.value) for metric in own}
        yield f"Module {name}: {messages} in {batches}, {seconds:.3f} seconds{_list(failures)}"


def _notable(snapshot: Snapshot) -> Iterator[tuple[str, str]]:
    """The names of the notable counters that are not 0, or unknown, and their lines."""
    for counter in (*LISTENER_COUNTERS, *WORKER_ROWS):
        if counter.notable:
            yield from _sentence(counter, snapshot.total(counter.name))
    if any(listener.counters["dropped_by_kernel"] is None for listener in snapshot.listeners):
        name = "dropped_by_kernel"
        yield name, f"An unknown number of datagrams was dropped by the kernel ({name})"
    at_stop, reports_at_stop, queue_full, by_modules, unknown_losses = SUMS
    modules = snapshot.modules
    dropped = sum(worker.dropped_at_stop for worker in snapshot.workers)
    # What waits at the totals is dropped: nothing follows them.
    yield from _sentence(at_stop, dropped + sum(module.dropped_at_stop + module.waiting for module in modules))
    yield from _sentence(reports_at_stop, sum(worker.reports_at_stop for worker in snapshot.workers))
    yield from _sentence(queue_full, sum(module.dropped_queue_full for module in modules))
    yield from _sentence(by_modules, sum(module.lost or 0 for module in modules))
    yield from _sentence(unknown_losses, sum(module.unknown_losses or 0 for module in modules))
    for name in dict.fromkeys(module.name for module in snapshot.modules if module.lost is None):
        yield (
            by_modules.name,
            f"An unknown number of messages was lost by module {name}, whose count failed ({by_modules.name})",
        )


def _growth(before: Counts, after: Counts) -> tuple[int, str]:
    """The growth of all counts together, and the numbers of those that have grown."""
    growth = [new - old for old, new in zip(before, after, strict=True)]
    return sum(growth), ", ".join(str(number) for number, count in enumerate(growth) if count)


def _messages(messages: int, senders: int) -> str:
    return f"{plural(messages, 'message')} from {plural(senders, 'sender')}"


def _sum(counts: Iterable[int | None]) -> int | None:
    """The sum; None if one of them is unknown."""
    known = 0
    for count in counts:
        if count is None:
            return None
        known += count
    return known


def _list(counters: Mapping[str, int | None], without: tuple[str, ...] = ()) -> str:
    """The counters that are not 0, or unknown, with a semicolon before them."""
    names = ", ".join(
        f"{name} {'unknown' if count is None else count}"
        for name, count in counters.items()
        if count != 0 and name not in without
    )
    return f"; {names}" if names else ""


def _sentence(counter: Counter, count: int) -> Iterator[tuple[str, str]]:
    """The counter's name, and its help with its number, if that is not 0: "2 datagrams dropped because ... (name)"."""
    if not count:
        return
    text = counter.help[0].lower() + counter.help[1:].rstrip(".")
    if count == 1:
        # A help text begins with its noun, in the plural.
        text = re.sub(r"s\b", "", text, count=1)
    yield counter.name, f"{count} {text} ({counter.name})"
