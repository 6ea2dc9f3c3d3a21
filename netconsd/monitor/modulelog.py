"""Log lines about modules that hang, are too slow, or say that they do not work, while it happens.

Pure: the log and the time are arguments.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from twisted.logger import Logger

from netconsd.outputs.progress import HANGING_SECONDS
from netconsd.outputs.runner import RunningModule
from netconsd.protocol.plural import plural

# A module that hangs for hours, or is always too slow, must not fill the log.
REPEAT_SECONDS = 60.0
# A fault that a module names itself, such as a full disk, can last for days.
FAULT_REPEAT_SECONDS = 3600.0


@dataclass
class _State:
    """A module in one worker: when it was last logged, and the drops logged so far."""

    hanging_logged: float | None = None
    silent: float = 0.0
    drops_logged_at: float = field(default=float("-inf"))
    drops: int = 0


class ModuleLog:
    """Logs the beginning and the end of a hang at once, its course and drops once per :data:`REPEAT_SECONDS`."""

    def __init__(self, log: Logger) -> None:
        self._log = log
        self._states: dict[tuple[str, int], _State] = {}
        # The faults of each module's own, with the time at which each was last logged.
        self._faults: dict[tuple[str, str], float] = {}

    def update(self, outputs: Iterable[RunningModule], now: float) -> None:
        """Look at all modules, in the reactor's thread; once a second or so.

        :param now: monotonic seconds.
        """
        for output in outputs:
            self._log_faults(output, now)
            for worker, counters in enumerate(output.counters):
                state = self._states.setdefault((output.name, worker), _State())
                self._log_hang(state, output, worker, now)
                dropped = counters.dropped_queue_full
                if dropped > state.drops and now - state.drops_logged_at >= REPEAT_SECONDS:
                    self._log.warn(
                        "Module {name} is too slow or hangs: {messages} dropped in worker {worker}, because its queue "
                        "was full (dropped_queue_full; see --queue)",
                        name=output.name,
                        messages=plural(dropped - state.drops, "message"),
                        worker=worker,
                    )
                    state.drops, state.drops_logged_at = dropped, now

    def _log_faults(self, output: RunningModule, now: float) -> None:
        current = output.faults()
        for fault in current:
            logged = self._faults.get((output.name, fault))
            if logged is None or now - logged >= FAULT_REPEAT_SECONDS:
                self._faults[output.name, fault] = now
                self._log.warn("Module {name}: {fault}", name=output.name, fault=fault)
        for name, fault in [key for key in self._faults if key[0] == output.name and key[1] not in current]:
            del self._faults[name, fault]
            self._log.info("Module {name}: no longer: {fault}", name=name, fault=fault)

    def _log_hang(self, state: _State, output: RunningModule, worker: int, now: float) -> None:
        silent = output.silent_seconds(worker, now)
        if silent >= HANGING_SECONDS:
            if state.hanging_logged is None or now - state.hanging_logged >= REPEAT_SECONDS:
                state.hanging_logged = now
                self._log.warn(
                    "Module {name} hangs in worker {worker}: no message processed for {seconds:.0f} seconds; {waiting} "
                    "waiting. {others}",
                    name=output.name,
                    worker=worker,
                    seconds=silent,
                    waiting=plural(output.waiting(worker), "message"),
                    others="The other modules continue"
                    if output.queues
                    else "Nothing of this worker's senders is processed meanwhile",
                )
        elif state.hanging_logged is not None:
            state.hanging_logged = None
            self._log.info(
                "Module {name} continues in worker {worker} after {seconds:.0f} seconds",
                name=output.name,
                worker=worker,
                seconds=state.silent,
            )
        state.silent = silent
