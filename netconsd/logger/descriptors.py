"""The plan of file descriptors: how many files the modules of a process may keep open."""

from __future__ import annotations

import os
import resource
import threading
from collections.abc import Callable
from typing import Final

from twisted.logger import Logger

from netconsd.protocol.plural import plural

#: Descriptors that stay free for everything else: the sockets of HTTP clients and of DNS, modules of other authors, and
#: files that are open for a moment.
RESERVE: Final = 64

log = Logger("netconsd.logger")


def _in_use() -> int:
    return len(os.listdir("/proc/self/fd"))


class Descriptors:
    """Shares the descriptors of the process. The limit of a process is one number, and so is its plan. Any thread."""

    def __init__(
        self,
        *,
        limits: Callable[[], tuple[int, int]] = lambda: resource.getrlimit(resource.RLIMIT_NOFILE),
        raise_limit: Callable[[tuple[int, int]], object] = lambda limits: resource.setrlimit(
            resource.RLIMIT_NOFILE, limits
        ),
        in_use: Callable[[], int] = _in_use,
    ) -> None:
        """
        :param limits: returns the soft and the hard limit.
        :param raise_limit: sets both limits.
        :param in_use: returns how many descriptors are open.
        """
        self._limits = limits
        self._raise_limit = raise_limit
        self._in_use = in_use
        self._lock = threading.Lock()
        self._planned = 0

    def take(self, wanted: int, title: str) -> int:
        """Return how many files a module may keep open: ``wanted``, or fewer, which is logged.

        The soft limit is raised if that is necessary and allowed.

        :param title: the module's name.
        :raises RuntimeError: if not even one can be opened, with a text for the user.
        """
        with self._lock:
            soft, hard = self._limits()
            try:
                # Files of other modules may already be open; then they are counted twice, on the safe side.
                others = self._in_use() + RESERVE + self._planned
            except OSError:
                # Without /proc. Python, the sockets and the log take about ten.
                others = RESERVE + RESERVE + self._planned
            if soft != resource.RLIM_INFINITY and soft < others + wanted:
                soft = self._raised(soft, hard, others + wanted, title)
            free = wanted if soft == resource.RLIM_INFINITY else min(wanted, soft - others)
            if free < 1:
                raise RuntimeError(
                    f"this process may open {plural(soft, 'file')} (RLIMIT_NOFILE), of which none is left for a log "
                    f"file: allow {others + wanted} (ulimit -n, or LimitNOFILE= in the unit)"
                )
            if free < wanted:
                log.warn(
                    "{title}: {free} instead of {wanted} are kept open, because this process may open {soft} "
                    "(RLIMIT_NOFILE); allow {needed} (ulimit -n, or LimitNOFILE= in the unit), or set max_open_files",
                    title=title,
                    free=plural(free, "file"),
                    wanted=wanted,
                    soft=soft,
                    needed=others + wanted,
                )
            self._planned += free
            return free

    def give_back(self, count: int) -> None:
        """End the use of descriptors from :meth:`take`."""
        with self._lock:
            self._planned -= count

    def _raised(self, soft: int, hard: int, needed: int, title: str) -> int:
        """Raise the soft limit; return the limit that holds then."""
        limit = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        if limit <= soft:
            return soft
        try:
            self._raise_limit((limit, hard))
        except (OSError, ValueError):
            return soft
        log.info(
            "{title}: the limit of open files (RLIMIT_NOFILE) was raised from {soft} to {limit}",
            title=title,
            soft=soft,
            limit=limit,
        )
        return limit


#: The plan of this process.
PROCESS: Final = Descriptors()
