"""Finds workers and modules that hang, for the watchdog and for /healthz. Pure: the time is an argument."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from netconsd.monitor.snapshot import Snapshot
from netconsd.outputs.progress import HANGING_SECONDS, Progress
from netconsd.outputs.runner import RunningModule
from netconsd.protocol.plural import plural
from netconsd.receive.lanes import Lane

# Seconds after which /healthz asks for a restart, because every module of a worker hangs: as WatchdogSec= of the unit.
STUCK_SECONDS = 180.0

#: The name of a module, the number of a worker, and the seconds for which it hangs.
Hang = tuple[str, int, float]


class Liveness:
    """Remembers when each worker last made progress."""

    def __init__(self, timelimit: float) -> None:
        """
        :param timelimit: seconds without progress after which a worker that has work is hanging. A worker hands out up
            to some thousand messages at a time, and makes visible progress only then.
        """
        self._timelimit = timelimit
        # By the number of a worker.
        self._progress: dict[int, Progress] = {}

    def hanging(self, lanes: Iterable[Lane], now: float, modules: Sequence[RunningModule] = ()) -> list[int]:
        """Return the numbers of the workers whose messages reach no module: a restart may help.

        Their thread has ended, or they have work and made no progress for the time limit, or each of several modules
        has had messages of this worker and made no progress for the time limit.

        :param now: monotonic seconds.
        """
        return [lane.number for lane in lanes if not lane.running or self._is_stuck(lane, now, modules)]

    def _is_stuck(self, lane: Lane, now: float, modules: Sequence[RunningModule]) -> bool:
        progress = self._progress.setdefault(lane.number, Progress())
        if progress.look(int(lane.counters.datagrams), bool(lane.backlog), now) >= self._timelimit:
            return True
        silent = [module.silent_seconds(lane.number, now) for module in modules if module.queues]
        return bool(silent) and min(silent) >= self._timelimit


def hanging_modules(modules: Iterable[RunningModule], now: float) -> list[Hang]:
    """The modules that have had messages of a worker and made no progress for :data:`HANGING_SECONDS`."""
    hangs = [
        (module.name, worker, module.silent_seconds(worker, now))
        for module in modules
        for worker in range(len(module.counters))
    ]
    return [hang for hang in hangs if hang[2] >= HANGING_SECONDS]


def health(snapshot: Snapshot) -> tuple[bool, list[str]]:
    """Return whether the workers and modules work so far that no restart is needed, and a line for each fault.

    A module that hangs beside one that works is a fault, and no reason for a restart, which would take from the other
    module what it has. So is a module that says that it does not work: a restart empties no disk.
    """
    ended = [str(worker.number) for worker in snapshot.workers if not worker.alive]
    lines = [f"worker {', '.join(ended)} has ended"] if ended else []
    healthy = not ended
    for worker in snapshot.workers:
        silent = [module.silent_seconds for module in snapshot.modules if module.worker == worker.number]
        if silent and min(silent) >= STUCK_SECONDS:
            healthy = False
            lines.append(f"worker {worker.number} is stuck: {'all modules hang' if silent[1:] else 'its module hangs'}")
    lines += [f"module {hang}" for hang in _texts(_hanging(snapshot))]
    return healthy, [*lines, *(f"module {own.name}: {fault}" for own in snapshot.own for fault in own.faults)]


def _hanging(snapshot: Snapshot) -> list[Hang]:
    modules = snapshot.modules
    return [(each.name, each.worker, each.silent_seconds) for each in modules if each.silent_seconds >= HANGING_SECONDS]


def _texts(hangs: Iterable[Hang]) -> list[str]:
    return [f"{name} hangs in worker {worker} for {seconds:.0f} seconds" for name, worker, seconds in hangs]


def status(lanes: Sequence[Lane], hanging: Sequence[int] = (), modules: Sequence[Hang] = ()) -> str:
    """Return one line about the daemon, for the service manager."""
    messages = plural(sum(int(lane.counters.messages) for lane in lanes), "message")
    senders = plural(sum(lane.senders for lane in lanes), "sender")
    queued = plural(sum(lane.waiting for lane in lanes), "queued datagram")
    line = "; ".join([*(f"Module {text}" for text in _texts(modules)), f"{messages} so far; {senders}; {queued}"])
    if hanging:
        workers = "Worker" if len(hanging) == 1 else "Workers"
        verb = "is" if len(hanging) == 1 else "are"
        line = f"{workers} {', '.join(map(str, hanging))} {verb} stuck: a module blocks or is too slow; {line}"
    return line
