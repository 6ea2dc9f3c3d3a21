"""The inputs that fuzzing found, replayed with every run of the tests, in every available build."""

from __future__ import annotations

from pathlib import Path

import pytest

from netconsd.build import COMPILED
from tests.fuzz.targets import OTHERS, TARGETS
from tests.support.compare_builds import AsImported
from tests.support.plain_build import PlainBuild

CORPUS = Path(__file__).parents[1] / "corpus"
BUILDS = [AsImported(), PlainBuild(*OTHERS)] if COMPILED else [AsImported()]


@pytest.mark.parametrize("name", list(TARGETS))
def test_corpus(name: str) -> None:
    """No input of the corpus violates a target's rules or makes the builds differ, and the corpus is not empty."""
    target = TARGETS[name](BUILDS)
    files = sorted((CORPUS / name).iterdir())
    assert len(files) >= 10
    for file in files:
        try:
            target(file.read_bytes())
        except Exception as error:
            raise AssertionError(f"{file}: {error!r}") from error
