"""The contract between netconsd and its output modules.

A module is a Python file. Every class in it that implements one of the first four interfaces is an output module,
or the file itself is, if it has ``moduleProvides(IOutputModule)`` and the three functions. docs/modules shows both.
:class:`IOutputModule` and :class:`IBatchOutputModule` exclude each other; :class:`IReportModule` and
:class:`IEventModule` may stand beside either of them, or alone.

A class with the attribute ``only_if_named = True`` does not start because its directory was given to ``--modules``, but
only if the user names it: a module that keeps, listens or sends, so that a directory never opens a port or uses a disk
unexpectedly.

Two kinds of thread call a module. ``start``, ``stop`` and ``reload`` are called in the reactor's thread, where the
whole of Twisted may be used and nothing may block. ``handle``, ``handle_batch``, ``handle_report`` and ``handle_event``
are called in the threads of the workers, or in threads of the module's own, one per worker, if there are several
modules. There blocking is allowed (it delays no other module) and no method of the reactor may be called except
``reactor.callFromThread``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from zope.interface import Interface

if TYPE_CHECKING:
    from collections.abc import Sequence

    from netconsd.crash.event import Event
    from netconsd.crash.report import Report
    from netconsd.protocol.message import Message

__all__ = [
    "IBatchOutputModule",
    "ICheckable",
    "ICountsLosses",
    "ICountsUnknownLosses",
    "IEventModule",
    "IExportsMetrics",
    "IKeeps",
    "IListening",
    "IOutputModule",
    "IReloadable",
    "IReportModule",
    "ISends",
    "ITakesLegacyDatagrams",
    "IUsesNames",
    "IUsesSnapshots",
    "ModuleMetric",
]

# zope.interface methods are declared without ``self``.
# ruff: noqa: N805


class IOutputModule(Interface):
    """An output module that receives one message per call."""

    def start(worker_count: int) -> object:
        """Prepare the module: called once, before the first message, after the process became a daemon.

        Open files, import third-party libraries and create state per worker here, not in the constructor.

        :param worker_count: the number of workers; they are numbered from 0.
        :returns: anything, or a Deferred, which is awaited before the first message.
        :raises Exception: stops the start of the daemon; the text is shown to the user.
        """

    def handle(worker: int, message: Message) -> object:
        """Process one message, in the thread of its worker.

        Each worker makes one call at a time; different workers call at the same time. All messages of a sender have the
        same worker and are in order. The message is immutable and shared with the other modules. An exception is logged
        and counted against the module, and has no other effect.

        :param worker: the number of the calling worker, from 0 to ``worker_count`` - 1.
        :param message: a :class:`netconsd.message.LegacyMessage` or :class:`netconsd.message.ExtendedMessage`.
        """

    def stop() -> object:
        """Finish the module's work: called once, after the last message, and only if ``start`` succeeded.

        :returns: anything, or a Deferred, which is awaited before the process ends.
        """


class IBatchOutputModule(Interface):
    """An output module that receives a list of messages per call, instead of :class:`IOutputModule`."""

    def start(worker_count: int) -> object:
        """As :meth:`IOutputModule.start`."""

    def handle_batch(worker: int, messages: list[Message]) -> object:
        """Process messages, in the thread of their worker; otherwise as :meth:`IOutputModule.handle`.

        :param messages: at least one message, from any number of senders, in order per sender. The module may change
            the list; the messages are shared with the other modules.
        """

    def stop() -> object:
        """As :meth:`IOutputModule.stop`."""


class IReportModule(Interface):
    """An output module that receives crash reports, beside one of the message interfaces or alone.

    Crashes are recognised only while a module takes reports. A module that does not take them, because of a setting for
    example, sets its attribute ``wants_reports`` to False, at the latest in ``start``.
    """

    def start(worker_count: int) -> object:
        """As :meth:`IOutputModule.start`."""

    def handle_report(worker: int, report: Report) -> object:
        """Process one crash report, in the thread of its worker; otherwise as :meth:`IOutputModule.handle`.

        A report comes after the messages that it consists of, in the same thread. It comes when it is complete: with
        the last line of the crash, after seconds of silence, when the machine boots again, or at the stop. Two
        reports can share messages of ``before``, and a message of several lines.

        :param report: a :class:`netconsd.crashes.Report`, immutable and shared with the other modules.
        """

    def stop() -> object:
        """As :meth:`IOutputModule.stop`."""


class IEventModule(Interface):
    """An output module that receives events of machines' lives, beside one of the message interfaces or alone.

    Events are found only while a module takes them; ``wants_events`` is the attribute as in :class:`IReportModule`.
    """

    def start(worker_count: int) -> object:
        """As :meth:`IOutputModule.start`."""

    def handle_event(worker: int, event: Event) -> object:
        """Process one event, in the thread of its worker; otherwise as :meth:`IOutputModule.handle`.

        An event comes after the message that shows it, and after the report of a crash that it follows from.

        :param event: a :class:`netconsd.crashes.Event`, immutable and shared with the other modules.
        """

    def stop() -> object:
        """As :meth:`IOutputModule.stop`."""


class ICheckable(Interface):
    """An additional interface for modules whose start can be refused: by a missing library, file or permission."""

    def check() -> object:
        """Raise what ``start`` would raise: called by ``netconsd check``, instead of ``start``, and not by the daemon.

        The daemon may be running beside: read files and import libraries, but create, change and keep nothing, listen
        nowhere, and do not wait for a network.

        :raises Exception: if the module cannot start; the text is shown to the user. An ``ExceptionGroup`` is shown
            with a line for each of its exceptions.
        """


class IReloadable(Interface):
    """An additional interface for modules that reopen or reread files on SIGHUP."""

    def reload() -> object:
        """Reopen and reread files: called in the reactor's thread, while the workers continue to call.

        An exception is logged and counted against the module, and has no other effect.
        """


class IListening(Interface):
    """An additional interface for modules that need the addresses on which the daemon receives."""

    def listening(addresses: Sequence[tuple[str, int]]) -> object:
        """Called once, in the reactor's thread, after all modules were started and the daemon began to receive.

        :param addresses: the addresses and UDP ports that the daemon listens on; ``0.0.0.0`` is all of IPv4, ``::``
            all of IPv6.
        :returns: anything, or a Deferred, which is awaited before the daemon counts as started. Messages can arrive
            before it fires.
        :raises Exception: ends the daemon as a failed start; the text is shown to the user.
        """


class ICountsLosses(Interface):
    """An additional interface for modules that count the messages that they lost, because a disk is full for example.

    The numbers are in the metrics and in the totals. Exceptions in ``handle`` are counted without this interface.
    """

    def lost(worker: int) -> int:
        """The number of messages of this worker lost since the start; called in the reactor's thread at any time.

        An exception is logged; the number is then shown as unknown.
        """


class ICountsUnknownLosses(Interface):
    """An additional interface for modules that learn of losses without their number, as from an error of ``close``."""

    def unknown_losses(worker: int) -> int:
        """The number of failures of this worker since the start that lost an unknown number of messages each.

        Called as :meth:`ICountsLosses.lost`. The messages are not in that number.
        """


class ModuleMetric(NamedTuple):
    """A number of a module's own, for :class:`IExportsMetrics`."""

    #: Lower case letters, digits and underscores, with the unit, as in ``store_journal_bytes``. Prometheus shows
    #: ``netconsd_NAME``, with the module's name as the label ``module``; ``_total`` is added to a counter.
    name: str
    #: What is counted, as a sentence.
    help: str
    #: None if it is unknown, which is not shown.
    value: float | None
    #: Whether it only grows, from 0 at the start.
    counter: bool = False


class IExportsMetrics(Interface):
    """An additional interface for modules that have numbers of their own, or learn that they do not work.

    Both methods are called in the reactor's thread, about once a second, from the end of ``start`` to that of ``stop``:
    return what is known, and neither compute nor wait. An exception is logged; nothing is shown then.
    """

    def metrics() -> Sequence[ModuleMetric]:
        """The numbers: the same names each time, at most 64. Prometheus shows them, and the totals the counters."""

    def faults() -> Sequence[str]:
        """The reasons for which the module does not do its work now, a line for each; empty if it does.

        They are in the log, in ``/healthz`` and in the metric ``netconsd_module_faults``. The texts of a fault are the
        same while it lasts: no numbers that grow.
        """


class IKeeps(Interface):
    """An additional interface for modules that keep messages on a disk.

    ``netconsd process`` acknowledges messages to the broker after this; of a module without it, when the module has
    returned from them.
    """

    def sync() -> object:
        """Return when everything that the module had returned from before the call survives a crash of the machine.

        Called in a thread of its own, which may wait for the disk, while the workers continue to call; one call at a
        time. Messages that the module has lost, and counted, are no error.

        :raises Exception: if it may not be on the disk: the broker will deliver the messages again.
        """


class ISends(Interface):
    """An additional interface for modules that send to a server."""

    def send_test() -> str:
        """Deliver one record that says that it is a test, and return the server's answer in short.

        Called by ``netconsd check --send``, in place of ``start``, and not by the daemon, which may be running beside.
        It may wait for the server, for as long as the module would.

        :raises Exception: if it was not delivered; the text is shown to the user.
        """


class ITakesLegacyDatagrams(Interface):
    """An additional interface, without methods, for modules that receive legacy text as datagrams instead of lines.

    The module gets a :class:`netconsd.message.LegacyDatagram` per datagram and no
    :class:`netconsd.message.LegacyMessage`. A datagram can contain several lines, and a line can continue in the next
    datagram.
    """


class IUsesNames(Interface):
    """An additional interface for modules that show the names of senders, as the shipped ones do."""

    def use_names(names: Any) -> object:
        """Keep the names: called once, in the reactor's thread, before ``start``.

        A program that calls the module itself may omit the call; then the module can use a ``Names()`` of its own.

        :param names: a :class:`netconsd.names.Names`; any thread may call its ``sender(message)``.
        """


class IUsesSnapshots(Interface):
    """An additional interface for modules that show the state of the daemon, as the console does."""

    def use_snapshots(snapshot: Any) -> object:
        """Keep the function: called once, in the reactor's thread, before ``start``, if a daemon runs the module.

        :param snapshot: returns a :class:`netconsd.embedding.Snapshot`, all counters as they are now; for the reactor's
            thread.
        """
