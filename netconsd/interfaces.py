"""The contract between netconsd and its output modules.

A module is a Python file. Every class in it that implements one of the first two interfaces is an output module,
or the file itself is, when it says ``moduleProvides(IOutputModule)`` and has the three functions. docs/modules shows
both.

Two kinds of thread call a module. ``start``, ``stop`` and ``reload`` are called in the reactor's thread, where the
whole of Twisted may be used and nothing may block. ``handle`` and ``handle_batch`` are called in the threads of the
workers, where blocking is allowed (it holds up the senders of that worker only) and nothing of the reactor may be
touched except ``reactor.callFromThread``.
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
    """An output that takes one message at a time."""

    def start(worker_count: int) -> object:
        """Get ready: called once, before the first message, after the process became a daemon.

        Open files, import third-party libraries and make per-worker state here, not in the constructor.

        :param worker_count: how many workers will call; they are numbered from 0.
        :returns: anything, or a Deferred, which is waited for before the first message.
        :raises Exception: whatever is raised stops the start of the daemon and is shown to the user.
        """

    def handle(worker: int, message: Message) -> object:
        """Take one message, in the thread of its worker.

        Per worker there is one call at a time, and the messages of one sender always come through the same worker,
        in order; different workers call at once. The message is shared with the other modules: it cannot be changed.
        An exception is logged and counted against the module, and ends nothing else.

        :param worker: the number of the calling worker, from 0 to ``worker_count`` - 1.
        :param message: a :class:`netconsd.message.LegacyMessage` or :class:`netconsd.message.ExtendedMessage`.
        """

    def stop() -> object:
        """Finish: called once, after the last message, and only if ``start`` succeeded.

        :returns: anything, or a Deferred, which is waited for before the process ends.
        """


class IBatchOutputModule(Interface):
    """An output that gains from taking many messages at a time; instead of :class:`IOutputModule`."""

    def start(worker_count: int) -> object:
        """As :meth:`IOutputModule.start`."""

    def handle_batch(worker: int, messages: list[Message]) -> object:
        """Take some messages, in the thread of their worker; otherwise as :meth:`IOutputModule.handle`.

        :param messages: a list of at least one message, from any number of senders, per sender in order. The list
            is the module's own; the messages are shared with the other modules.
        """

    def stop() -> object:
        """As :meth:`IOutputModule.stop`."""


class IReloadable(Interface):
    """What a module provides in addition, if it holds files that are to be opened anew on SIGHUP."""

    def reload() -> object:
        """Reopen files and reread what can be reread: called in the reactor's thread while workers go on calling.

        An exception is logged and counted against the module, and ends nothing else.
        """


class IListening(Interface):
    """What a module provides in addition, if it wants to know where messages come from, as soon as they can come."""

    def listening(addresses: Sequence[tuple[str, int]]) -> object:
        """Called once, in the reactor's thread, after all modules are started and the sockets are read.

        :param addresses: the addresses and UDP ports that the daemon listens on; ``0.0.0.0`` is all of IPv4, ``::``
            all of IPv6.
        :returns: anything, or a Deferred, which the start of the daemon waits for, while messages come already.
        :raises Exception: whatever is raised ends the daemon as if it had not started, and is shown to the user.
        """


class ICountsLosses(Interface):
    """What a module provides in addition, if it knows of messages that it could not put where they belong.

    What ``handle`` raises is counted without that. This is for a module that goes on: whose disk is full, or whose
    server is away. The numbers are in the metrics and in the totals.
    """

    def lost(worker: int) -> int:
        """How many messages of this worker were lost since the start; called in the reactor's thread at any time.

        What it raises is logged, and counts as none.
        """


class ITakesLegacyDatagrams(Interface):
    """What a module provides in addition, if it wants legacy text as it arrived, datagram by datagram.

    It gets a :class:`netconsd.message.LegacyDatagram` for each, and no :class:`netconsd.message.LegacyMessage`. Nothing
    is put together or split: a datagram can hold several lines, and a line can go on in the next one.
    """
