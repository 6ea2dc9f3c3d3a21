"""The contract between netconsd and its output modules.

A module is a Python file. Every class in it that implements one of the first two interfaces is an output module,
or the file itself is, if it has ``moduleProvides(IOutputModule)`` and the three functions. docs/modules shows both.

Two kinds of thread call a module. ``start``, ``stop`` and ``reload`` are called in the reactor's thread, where the
whole of Twisted may be used and nothing may block. ``handle`` and ``handle_batch`` are called in the threads of the
workers, or in threads of the module's own, one per worker, if there are several modules. There blocking is allowed (it
delays no other module) and no method of the reactor may be called except ``reactor.callFromThread``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import Interface

if TYPE_CHECKING:
    from collections.abc import Sequence

    from netconsd.protocol.message import Message

__all__ = ["IBatchOutputModule", "ICountsLosses", "IListening", "IOutputModule", "IReloadable", "ITakesLegacyDatagrams"]

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


class ITakesLegacyDatagrams(Interface):
    """An additional interface, without methods, for modules that receive legacy text as datagrams instead of lines.

    The module gets a :class:`netconsd.message.LegacyDatagram` per datagram and no
    :class:`netconsd.message.LegacyMessage`. A datagram can contain several lines, and a line can continue in the next
    datagram.
    """
