"""A processor as an ``IService``: the modules, lanes and metrics of a receiver, with a broker instead of sockets.

Start: the modules, then the workers, then the client of the broker. Stop: the client gives its partitions away, after
the modules have everything and it is acknowledged; then as :mod:`netconsd.service`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, DeferredList

import netconsd
from netconsd.build import KIND
from netconsd.monitor.snapshot import BROKER, OwnSnapshot, Snapshot
from netconsd.outputs.draining import Draining, Part
from netconsd.process.client import Client
from netconsd.process.handover import Handovers
from netconsd.process.intake import Intake
from netconsd.protocol.plural import plural
from netconsd.service import NetconsdService, Running
from netconsd.settings import Settings
from netconsd.streams.copies import HELD_BYTES_LIMIT, MEMORY_LIMIT, Copies, Summary

__all__ = ["ProcessingService"]


class ProcessingService(NetconsdService):
    """Takes messages out of a broker and hands them to output modules, as a child of any Twisted application.

    All methods are for the reactor's thread. A stopped service can be started again.
    """

    def __init__(
        self,
        modules: Mapping[str, Any],
        settings: Settings | None = None,
        *,
        client: Callable[[Intake], Client],
        where: str,
        reactor: Any = None,
    ) -> None:
        """
        :param modules: as of :class:`NetconsdService`.
        :param settings: likewise; those of the reception have no effect.
        :param client: makes the client of the broker.
        :param where: the broker, for the log.
        :raises ModuleError: if a module provides none of the interfaces of modules.
        """
        super().__init__(modules, settings, reactor=reactor, sockets=lambda _: [])
        self._make_client = client
        self._where = where
        self._client: Client | None = None
        self._ended: Deferred[None] = Deferred()
        self._last_own = OwnSnapshot(BROKER)
        self._last_copies: Summary | None = None

    @property
    def client(self) -> Client | None:
        """The client of the broker, from the start of the modules on."""
        return self._client

    def snapshot(self) -> Snapshot:
        """As :meth:`NetconsdService.snapshot`, with the numbers of the broker as those of a module ``process``."""
        found = super().snapshot()
        client = self._client
        if client is not None and self._run is not None:
            faults = [*([f"the broker: {client.fault}"] if client.fault else []), *client.faults()]
            faults += client.intake.faults()
            self._last_own = OwnSnapshot(BROKER, tuple(client.intake.metrics()), tuple(faults))
            self._last_copies = client.intake.summary
        own = (*(each for each in found.own if each.name != BROKER), self._last_own)
        return replace(found, own=own, copies=self._last_copies)

    def _start_receiving(self, bound: Any) -> Sequence[tuple[str, int]]:
        handovers = Handovers()

        def copies() -> Copies:
            return Copies(memory=MEMORY_LIMIT // client.partitions, held_bytes=HELD_BYTES_LIMIT // client.partitions)

        self._run = run = Running(
            self.settings, self._outputs, [], self._receiver, self._reactor, self._names, handovers.marked
        )
        run.start([], 0.0)
        intake = Intake(
            run.workers.lanes,
            self._outputs,
            self.settings.queue,
            copies=copies,
            handovers=handovers,
        )
        self._client = client = self._make_client(intake)
        handovers.count = lambda: client.partitions
        self._log.info(
            "netconsd {version} ({kind}) takes messages from {where}; {workers}, modules: {modules}",
            version=netconsd.__version__,
            kind=KIND,
            where=self._where,
            workers=plural(self.settings.workers, "worker"),
            modules=", ".join(self._modules) or "none, so messages are dropped",
        )
        if bound.monitoring is not None:
            self._log.info("Metrics are at {url}", url=bound.monitoring.url)
        self._ended = Deferred()
        client.start(partial(self._reactor.callFromThread, self._ended.callback, None))
        return ()

    async def _stop_receiving(self, run: Running, draining: Draining) -> None:
        client = self._client
        if client is None:
            return

        def done() -> int:
            return client.intake.acknowledged + sum(
                output.progress(lane.number) for output in self._outputs.started for lane in run.workers.lanes
            )

        def left() -> str:
            count = client.intake.unfinished
            return f"{plural(count, 'message')} of the broker left" if count else ""

        def give_up(reason: str) -> None:
            self._log.warn(
                "{count} of the broker not acknowledged: {reason}. Another processor gets what is in them",
                count=plural(client.intake.unfinished, "message"),
                reason=reason,
            )
            client.give_up()

        client.stop()
        await draining.wait(
            DeferredList([self._ended], consumeErrors=True).addCallback(lambda _: None),
            [Part(lambda: client.running, done, left, give_up)],
        )
        intake = client.intake
        self._log.info(
            "The broker: {deliveries} received, {acknowledged} acknowledged, {given_back} given back, {redelivered} "
            "received again, {damaged} damaged, {deleted} deleted by the broker before; {messages} in them, "
            "{handed_on} handed on; {repeated} may have been processed before",
            deliveries=plural(intake.deliveries, "message"),
            acknowledged=intake.acknowledged,
            given_back=intake.given_back,
            redelivered=intake.redelivered,
            damaged=intake.damaged,
            deleted=intake.deleted,
            messages=plural(intake.messages, "kernel message"),
            handed_on=intake.handed_on,
            repeated=intake.repeated,
        )
