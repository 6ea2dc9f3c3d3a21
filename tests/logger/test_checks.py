"""The test whether a directory could be created or written in."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from netconsd.logger.checks import check_directory, check_file, read_regular


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


def test_a_directory_with_dots(tmp_path: Path) -> None:
    """A path is tested as it is without its dots, whether the directory before them exists or not."""
    (tmp_path / "file").write_text("")
    with pytest.raises(RuntimeError, match=r"Not a directory$"):
        check_directory(tmp_path / "gone/../file/logs")


def test_files_that_can_be_written(tmp_path: Path) -> None:
    """A regular file, and one that does not exist in a directory that could be made, have no error; nothing is left."""
    file = tmp_path / "file"
    file.write_text("kept")
    check_file(file)
    check_file(tmp_path / "a/b")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert file.read_text() == "kept"


def test_files_that_cannot_be_written(tmp_path: Path) -> None:
    """A FIFO, a device and a directory are errors that name the path, and so is a file for the parent's sake."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for path in (fifo, Path("/dev/null"), tmp_path):
        with pytest.raises(RuntimeError, match=f"^cannot write {path}: it is not a regular file$"):
            check_file(path)
    with pytest.raises(RuntimeError, match=r"Not a directory$"):
        check_file(fifo / "file")
