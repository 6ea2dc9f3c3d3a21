"""What fuzzing has come upon, replayed with every run of the tests, in whatever builds there are."""

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
    """Nothing in the corpus makes a build do what it must not, or the builds differ; and there is a corpus."""
    target = TARGETS[name](BUILDS)
    files = sorted((CORPUS / name).iterdir())
    assert len(files) >= 10
    for file in files:
        try:
            target(file.read_bytes())
        except Exception as error:
            raise AssertionError(f"{file}: {error!r}") from error
