"""The plan of descriptors: raised where that is allowed, shared, or refused with a reason."""

from __future__ import annotations

import resource

import pytest

from netconsd.logger.descriptors import RESERVE, Descriptors
from tests.support.loggers import logged

USED = 10


class Process:
    """A process with these limits, in which USED descriptors are open."""

    def __init__(self, soft: int, hard: int, refuses: bool = False) -> None:
        self.limits = soft, hard
        self._refuses = refuses
        self.plan = Descriptors(limits=lambda: self.limits, raise_limit=self._set, in_use=lambda: USED)

    def _set(self, limits: tuple[int, int]) -> None:
        if self._refuses:
            raise ValueError("not allowed to raise maximum limit")
        self.limits = limits


def test_enough() -> None:
    """A limit that is high enough is not changed, and nothing is logged."""
    process = Process(USED + RESERVE + 256, 4096)
    with logged() as texts:
        assert process.plan.take(256, "logger") == 256
    assert process.limits == (USED + RESERVE + 256, 4096)
    assert texts == []


@pytest.mark.parametrize("hard", [4096, resource.RLIM_INFINITY])
def test_raised(hard: int) -> None:
    """A soft limit that is too low is raised as far as necessary, which is logged."""
    process = Process(100, hard)
    with logged() as texts:
        assert process.plan.take(256, "logger") == 256
    assert process.limits == (USED + RESERVE + 256, hard)
    assert len(texts) == 1


def test_unlimited() -> None:
    """Without a limit, as many as wanted are open."""
    assert Process(resource.RLIM_INFINITY, resource.RLIM_INFINITY).plan.take(10**6, "logger") == 10**6


@pytest.mark.parametrize(("soft", "hard", "refuses"), [(50, 100, False), (100, 100, False), (100, 4096, True)])
def test_fewer(soft: int, hard: int, refuses: bool) -> None:
    """If the limit cannot be raised so far, fewer files are open, and the log names the limit and the remedy."""
    process = Process(soft, hard, refuses)
    with logged() as texts:
        assert process.plan.take(256, "logger") == 100 - USED - RESERVE
    assert "RLIMIT_NOFILE" in texts[-1]
    assert "max_open_files" in texts[-1]


def test_none() -> None:
    """If no file can be open, the start fails with a text that names the limit that would do."""
    with pytest.raises(RuntimeError, match=rf"allow {USED + RESERVE + 256} \(ulimit -n"):
        Process(60, 60).plan.take(256, "logger")


def test_modules_share_the_limit() -> None:
    """The second module gets the rest, and the first one's share again after that has stopped."""
    process = Process(USED + RESERVE + 100, USED + RESERVE + 100)
    with logged():
        assert process.plan.take(60, "logger") == 60
        assert process.plan.take(60, "jsonl") == 40
        process.plan.give_back(60)
        assert process.plan.take(60, "logger") == 60


def test_this_process() -> None:
    """The real calls give as many as wanted where the limit allows it."""
    assert Descriptors().take(1, "logger") == 1
