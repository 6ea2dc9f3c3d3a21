"""The test whether a directory could be created or written in."""

from __future__ import annotations

import errno
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


def test_file_systems_without_files_of_users() -> None:
    """A directory in which nobody can make a file, not even root, is an error, although root has all permissions."""
    # A bare root can have no /sys.
    for directory in ("/proc/self", "/proc/self/net", *(["/sys/kernel"] if os.path.ismount("/sys") else [])):
        with pytest.raises(RuntimeError, match=f"^cannot write in {directory}: "):
            check_directory(Path(directory))
        with pytest.raises(RuntimeError, match=f"^cannot create {directory}/logs: {directory}: "):
            check_directory(Path(directory) / "logs")


def test_a_file_that_root_cannot_write() -> None:
    """A file that cannot be written is an error for root as well."""
    with pytest.raises(RuntimeError, match=r"^cannot write /proc/version: "):
        check_file(Path("/proc/version"))


def test_a_file_system_without_unnamed_files(tmp_path: Path) -> None:
    """Where files need names, one is made and removed at once; if that fails, the reason is the error."""
    made = []

    def open_file(path: Path, flags: int, mode: int) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
        made.append(path)
        if len(made) > 1:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return os.open(path, flags, mode)

    check_directory(tmp_path, open_file=open_file)
    (named,) = made
    assert named.parent == tmp_path
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(RuntimeError, match=f"^cannot write in {tmp_path}: Read-only file system$"):
        check_directory(tmp_path, open_file=open_file)
