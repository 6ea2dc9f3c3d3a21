"""The names for embedding a part of netconsd in a program: one import path for all of them.

:class:`netconsd.service.NetconsdService` is the whole receiver; these names are its parts. docs/embedding has examples.
Importing this module never imports a reactor.
"""

from netconsd.crash.groups import Group, Groups
from netconsd.crash.recogniser import Recogniser
from netconsd.daemon.clock import use_monotonic_clock
from netconsd.monitor.snapshot import ListenerSnapshot, ModuleSnapshot, Snapshot, WorkerSnapshot
from netconsd.monitor.top_senders import TopList
from netconsd.outputs.loader import Loaded, ModuleError, Selection, Skipped, load
from netconsd.outputs.native import INCLUDE
from netconsd.outputs.setting_types import ModuleSetting
from netconsd.protocol.allowlist import AllowList
from netconsd.protocol.counters import SENDER_COUNTERS, SenderCounters, WorkerCounters
from netconsd.protocol.table import SourceTable
from netconsd.receive.lanes import Deliver, Lane, Question, Reply, Workers
from netconsd.receive.listener import MAX_DATAGRAM, NetconsoleListener

__all__ = [
    "INCLUDE",
    "MAX_DATAGRAM",
    "SENDER_COUNTERS",
    "AllowList",
    "Deliver",
    "Group",
    "Groups",
    "Lane",
    "ListenerSnapshot",
    "Loaded",
    "ModuleError",
    "ModuleSetting",
    "ModuleSnapshot",
    "NetconsoleListener",
    "Question",
    "Recogniser",
    "Reply",
    "Selection",
    "SenderCounters",
    "Skipped",
    "Snapshot",
    "SourceTable",
    "TopList",
    "WorkerCounters",
    "WorkerSnapshot",
    "Workers",
    "load",
    "use_monotonic_clock",
]
