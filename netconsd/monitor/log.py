"""Log lines at the start, while datagrams are dropped, and at the end, with the totals of all counters.

Pure: the log and the time are arguments. Programs read the lines of the totals: ``Listener 0: ``, ``Worker 0: `` and
``Module x: `` are followed by numbers and names, and a notable counter's line ends with its name in parentheses.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from twisted.logger import Logger

import netconsd
from netconsd.build import KIND
from netconsd.monitor.snapshot import WORKER_ROWS, Snapshot
from netconsd.outputs.runner import RunningModule
from netconsd.protocol.counters import LISTENER_COUNTERS, Counter
from netconsd.protocol.plural import plural
from netconsd.settings import Settings

# An overload must not fill the log, so it is logged once per interval; after an interval without drops it is over.
QUIET_SECONDS = 60.0

#: The notable sums that are no counters of a listener or worker.
SUMS = (
    Counter(
        "dropped_at_stop",
        "Messages dropped at the stop because a module did not return; a datagram in a queue counts as one.",
        "",
    ),
    Counter("dropped_by_modules", "Messages dropped because the queue of a module was full.", ""),
    Counter("lost_by_modules", "Messages that modules could not write or send.", ""),
    Counter("unknown_losses", "Failures that lost an unknown number of a module's messages.", ""),
)

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


class DropLog:
    """Logs an overload: its beginning at once, its course once per :data:`QUIET_SECONDS`, and its end."""

    def __init__(self, log: Logger, by_kernel: Counts, queue_full: Counts) -> None:
        """
        :param by_kernel: datagrams of each listener that the kernel has dropped so far.
        :param queue_full: datagrams that the full queue of each worker has dropped so far.
        """
        self._log = log
        self._last = self._logged = self._before = (tuple(by_kernel), tuple(queue_full))
        self._dropped_at = self._logged_at = float("-inf")
        self._began_at: float | None = None

    def update(self, by_kernel: Counts, queue_full: Counts, now: float) -> None:
        """Compare the counts with those of the last call, and log the change if it is due.

        :param now: monotonic seconds.
        """
        counts = (tuple(by_kernel), tuple(queue_full))
        if counts != self._last:
            self._last = counts
            self._dropped_at = now
            if self._began_at is None:
                self._began_at = now
        if counts != self._logged and now - self._logged_at >= QUIET_SECONDS:
            self._warn(counts)
            self._logged = counts
            self._logged_at = now
        elif self._began_at is not None and now - self._dropped_at >= QUIET_SECONDS:
            count = sum(map(sum, counts)) - sum(map(sum, self._before))
            self._log.info(
                "No datagram has been dropped for {quiet:.0f} seconds; {datagrams} dropped in the {before} before",
                quiet=QUIET_SECONDS,
                datagrams=f"{plural(count, 'datagram')} {'was' if count == 1 else 'were'}",
                before=plural(round(self._dropped_at - self._began_at + 1), "second"),
            )
            self._before = counts
            self._began_at = None

    def _warn(self, counts: tuple[Counts, Counts]) -> None:
        by_kernel, listeners = _growth(self._logged[0], counts[0])
        queue_full, workers = _growth(self._logged[1], counts[1])
        parts = []
        if by_kernel:
            parts.append(
                f"{by_kernel} by the kernel at listener {listeners}, because the receive buffer was full or a checksum "
                "was wrong (see --rcvbuf and --listeners)"
            )
        if queue_full:
            parts.append(
                f"{queue_full} at the full queue of worker {workers}, because a module is too slow (see --queue, "
                "--workers and --rate)"
            )
        self._log.warn("Datagrams are being dropped: {parts}", parts="; ".join(parts))


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
    for line in totals(snapshot):
        log.info("{line}", line=line)
    for inconsistency in snapshot.inconsistencies():
        log.error(
            "The counters are inconsistent, which is a defect of netconsd; please report it: {inconsistency}",
            inconsistency=inconsistency,
        )


def totals(snapshot: Snapshot) -> Iterator[str]:
    """One line for each listener, worker and module, one for the sums, and one for each notable counter.

    Counters that are 0 are left out.
    """
    for listener in snapshot.listeners:
        datagrams = plural(listener.counters["datagrams"], "datagram")
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
        names = ("errors", "dropped_queue_full", "dropped_at_stop", "lost", "unknown_losses")
        failures = {each: sum(getattr(part, each) or 0 for part in parts) for each in names}
        failures["waiting"] = sum(part.waiting for part in parts)
        unknown = "; lost: unknown, the module failed to count" if any(part.lost is None for part in parts) else ""
        yield f"Module {name}: {messages} in {batches}, {seconds:.3f} seconds{_list(failures)}{unknown}"
    yield (
        f"Total: {plural(snapshot.received, 'datagram')} received, "
        f"{_messages(snapshot.total('messages'), snapshot.total('senders_new'))}"
    )
    for counter in (*LISTENER_COUNTERS, *WORKER_ROWS):
        if counter.notable:
            yield from _sentence(counter, snapshot.total(counter.name))
    at_stop, queue_full, by_modules, unknown_losses = SUMS
    modules = snapshot.modules
    dropped = sum(worker.dropped_at_stop for worker in snapshot.workers)
    # What waits at the totals is dropped: nothing follows them.
    yield from _sentence(at_stop, dropped + sum(module.dropped_at_stop + module.waiting for module in modules))
    yield from _sentence(queue_full, sum(module.dropped_queue_full for module in modules))
    yield from _sentence(by_modules, sum(module.lost or 0 for module in modules))
    yield from _sentence(unknown_losses, sum(module.unknown_losses or 0 for module in modules))


def _growth(before: Counts, after: Counts) -> tuple[int, str]:
    """The growth of all counts together, and the numbers of those that have grown."""
    growth = [new - old for old, new in zip(before, after, strict=True)]
    return sum(growth), ", ".join(str(number) for number, count in enumerate(growth) if count)


def _messages(messages: int, senders: int) -> str:
    return f"{plural(messages, 'message')} from {plural(senders, 'sender')}"


def _list(counters: Mapping[str, int], without: tuple[str, ...] = ()) -> str:
    """The counters that are not 0, with a semicolon before them."""
    names = ", ".join(f"{name} {count}" for name, count in counters.items() if count and name not in without)
    return f"; {names}" if names else ""


def _sentence(counter: Counter, count: int) -> Iterator[str]:
    """The counter's help as a line with its number, if that is not 0: "2 datagrams dropped because ... (name)"."""
    if not count:
        return
    text = counter.help[0].lower() + counter.help[1:].rstrip(".")
    if count == 1:
        # A help text begins with its noun, in the plural.
        text = re.sub(r"s\b", "", text, count=1)
    yield f"{count} {text} ({counter.name})"
