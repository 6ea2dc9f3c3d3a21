"""The test whether a directory could be created or written in."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from netconsd.logger.checks import check_directory, read_regular


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


def test_files_that_settings_name(tmp_path: Path) -> None:
    """A regular file is read; a FIFO, which would block, and a directory are errors that name the path."""
    file, fifo = tmp_path / "file", tmp_path / "fifo"
    file.write_bytes(b"x")
    os.mkfifo(fifo)
    assert read_regular(str(file)) == b"x"
    for path in (fifo, tmp_path, tmp_path / "gone"):
        with pytest.raises(OSError, match=str(path)) as caught:
            read_regular(str(path))
        assert caught.value.filename == str(path)
