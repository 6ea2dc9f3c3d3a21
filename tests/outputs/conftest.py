"""Fixtures of the loader's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.module_files import Write, written


@pytest.fixture
def write(tmp_path: Path) -> Iterator[Write]:
    """Writes a file of modules into the test's directory."""
    with written(tmp_path) as write:
        yield write
