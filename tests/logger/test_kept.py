"""The files of a module: a start that fails leaves nothing."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from netconsd.logger import kept
from netconsd.logger.descriptors import Descriptors
from netconsd.logger.kept import KeptFiles
from netconsd.logger.rotation import Rotation

SHARE = 7


class Plan(Descriptors):
    """The plan of a process that allows every module its files; counts them."""

    def __init__(self) -> None:
        super().__init__(limits=lambda: (1 << 20, 1 << 20), in_use=lambda: 0)

    @property
    def planned(self) -> int:
        return self._planned


@pytest.fixture
def plan(monkeypatch: pytest.MonkeyPatch) -> Plan:
    """The plan instead of that of this process."""
    plan = Plan()
    monkeypatch.setattr(kept, "PROCESS", plan)
    return plan


def test_a_file_that_cannot_be_opened(tmp_path: Path, plan: Plan) -> None:
    """If the only file cannot be opened, the descriptors are given back and no thread runs."""
    (tmp_path / "name").mkdir()
    files = KeptFiles(str(tmp_path), Rotation(bytes=1, compress="gzip"), most=SHARE, title="x", only="name")
    with pytest.raises(OSError, match="name") as caught:
        files.start(1)
    assert caught.value.errno == errno.EISDIR
    assert (plan.planned, files.upkeep) == (0, None)


def test_an_upkeep_that_cannot_start(tmp_path: Path, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the library for the compression is missing, the descriptors are given back."""

    def missing(kind: str) -> None:
        raise ModuleNotFoundError(kind)

    monkeypatch.setattr("netconsd.logger.upkeep.compressor", missing)
    files = KeptFiles(str(tmp_path), Rotation(bytes=1, compress="zstd"), most=SHARE)
    with pytest.raises(ModuleNotFoundError, match="zstd"):
        files.start(1)
    assert (plan.planned, files.upkeep) == (0, None)


def test_the_share_of_descriptors(tmp_path: Path, plan: Plan) -> None:
    """The descriptors are taken from the start to the stop; a second stop has no effect, and the counts stay."""
    files = KeptFiles(str(tmp_path), Rotation(), most=SHARE)
    assert (files.lost(0), files.unknown_losses(0), files.dropped) == (0, 0, 0)
    files.start(2)
    assert plan.planned == SHARE
    assert files.files is not None
    files.files.dropped[1] = 3
    for _ in range(2):
        files.stop()
        assert plan.planned == 0
    assert (files.lost(0), files.lost(1), files.dropped) == (0, 3, 3)
