"""The test whether a directory could be created or written in."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from netconsd.logger.checks import check_directory


def test_directories_that_can_be_used(tmp_path: Path) -> None:
    """A directory that exists, or whose first existing parent can be written in, has no error; nothing is left."""
    check_directory(tmp_path)
    check_directory(tmp_path / "a/b/c")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not apply to root")
def test_without_permission(tmp_path: Path) -> None:
    """A directory that may not be written in, and a parent that may not, are errors that name it."""
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(RuntimeError, match=f"^cannot write in {tmp_path}: Permission denied$"):
            check_directory(tmp_path)
        with pytest.raises(RuntimeError, match=f"^cannot create {tmp_path}/a/b: {tmp_path}: Permission denied$"):
            check_directory(tmp_path / "a/b")
    finally:
        tmp_path.chmod(0o700)


def test_a_file_instead_of_a_directory(tmp_path: Path) -> None:
    """A file where the directory or a parent should be is an error."""
    file = tmp_path / "file"
    file.write_text("")
    for directory in (file, file / "logs"):
        with pytest.raises(RuntimeError, match=f"^cannot write in {directory}: Not a directory$"):
            check_directory(directory)
