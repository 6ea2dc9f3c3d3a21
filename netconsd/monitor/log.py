"""What the service says in the log at its start and at its end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from twisted.logger import Logger

import netconsd
from netconsd.build import KIND
from netconsd.monitor.snapshot import Snapshot
from netconsd.monitor.totals import totals
from netconsd.outputs.runner import RunningModule
from netconsd.settings import Settings


def announce(
    log: Logger,
    settings: Settings,
    where: str,
    listeners: int,
    modules: Sequence[str],
    granted: int,
    metrics_url: str | None,
) -> None:
    """Say that messages are received, and where; and if the receive buffer is smaller than it should be.

    :param granted: the bytes of receive buffer that the kernel granted.
    """
    log.info(
        "netconsd {version} ({kind}) listens on {where}; {listeners} listener(s), "
        "{workers} worker(s), modules: {modules}",
        version=netconsd.__version__,
        kind=KIND,
        where=where,
        listeners=listeners,
        workers=settings.workers,
        modules=", ".join(modules) or "none, so messages go nowhere",
    )
    if settings.allow:
        log.info("Only datagrams from {networks} are taken (--allow)", networks=", ".join(settings.allow))
    if metrics_url is not None:
        log.info("Metrics are at {url}", url=metrics_url)
    if granted < settings.rcvbuf:
        log.warn(
            "The kernel granted a receive buffer of {granted} of the {wanted} bytes asked for: bursts can be lost. "
            "Run 'sysctl -w net.core.rmem_max={wanted}', or give the daemon CAP_NET_ADMIN, or set --rcvbuf",
            granted=granted,
            wanted=settings.rcvbuf,
        )


def tell_failures(log: Logger, outputs: Iterable[RunningModule]) -> None:
    """Say which modules have failed, and how often."""
    for output in outputs:
        errors = sum(counters.errors for counters in output.counters) + output.reload_errors
        if errors:
            log.warn(
                "Module {name}: {errors} calls failed of those for {messages} messages",
                name=output.name,
                errors=errors,
                messages=sum(counters.messages for counters in output.counters),
            )


def tell_end(log: Logger, accounts: Snapshot) -> None:
    """Say the totals; and, as errors, what does not add up."""
    for line in totals(accounts):
        log.info("{line}", line=line)
    for discrepancy in accounts.inconsistencies():
        log.error(
            "The ledger does not close, which is a defect of netconsd; please report it: {discrepancy}",
            discrepancy=discrepancy,
        )
