"""Tests, for ``netconsd check``, whether a module that writes files could start; nothing is created or kept."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Callable
from pathlib import Path


def check_all(**attempts: Callable[[], object]) -> None:
    """Call each function.

    :param attempts: by the setting that it tests.
    :raises ExceptionGroup: with all exceptions of the functions, if there is one. An OSError is replaced by a
        RuntimeError whose text names the setting and the file, and the text of a ValueError or RuntimeError gets the
        setting.
    """
    errors: list[Exception] = []
    for setting, attempt in attempts.items():
        try:
            attempt()
        except OSError as error:
            errors.append(RuntimeError(f"{setting}: {cannot_read(error)}"))
        except (ValueError, RuntimeError) as error:
            errors.append(type(error)(f"{setting}: {error}"))
        except Exception as error:
            errors.append(error)
    if errors:
        raise ExceptionGroup("the module cannot start", errors)


def cannot_read(error: OSError) -> str:
    """The text about a file that cannot be read."""
    return f"cannot read {error.filename}: {error.strerror}"


def read_regular(path: str) -> bytes:
    """Read a file that a setting names; a FIFO, which would block the daemon, is an error as a directory is.

    :raises OSError: if the file cannot be read.
    """
    # O_NONBLOCK: the open of a FIFO would wait for its writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Not a regular file", path)
        with open(descriptor, "rb", closefd=False) as file:
            return file.read()
    finally:
        os.close(descriptor)


def check_directory(directory: Path, *, open_file: Callable[[Path, int, int], int] = os.open) -> None:
    """Test whether a directory could be created with its parents, or exists and could be written in.

    A file is made there, as only that shows a file system that is read-only or has no files of users (/proc): one
    without a name (O_TMPFILE, open(2)), which vanishes when it is closed. Where the file system has none of these, as
    NFS and older FUSE, the file has a name for the time of two system calls.

    :param directory: an absolute path.
    :raises RuntimeError: if not; the text names the directory, and its parent where that is the cause.
    """
    # The first of the directory and its parents that exists; the root does. A ".." is gone before, as for the kernel if
    # the directory before it does not exist.
    existing = Path(os.path.normpath(directory))
    while True:
        try:
            existing.lstat()
            break
        except FileNotFoundError:
            existing = existing.parent
        except OSError as error:  # a parent is a file, or may not be searched
            raise _unusable(directory, existing, error) from error
    try:
        try:
            os.close(open_file(existing, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR):
                raise
            # os.access would not do: for root it is true in /proc as well. The module `tempfile` would try other
            # directories and names after some errors.
            named = existing / f".netconsd-check-{secrets.token_hex(8)}"
            fd = open_file(named, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
            os.unlink(named)
            os.close(fd)
    except OSError as error:
        raise _unusable(directory, existing, error) from error


def check_file(path: Path) -> None:
    """Test whether a file could be created, or exists as a regular file that could be written.

    :param path: an absolute path.
    :raises RuntimeError: if not; the text names the path.
    """
    try:
        mode = path.stat().st_mode
    except OSError:
        check_directory(path.parent)
        return
    if not stat.S_ISREG(mode):
        raise RuntimeError(f"cannot write {path}: it is not a regular file")
    try:
        # Nothing is written. Permissions alone would not do: root has them for the read-only files of /proc as well,
        # some of which refuse the write only.
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            os.write(fd, b"")
        finally:
            os.close(fd)
    except OSError as error:
        raise RuntimeError(f"cannot write {path}: {error.strerror}") from error


def _unusable(directory: Path, existing: Path, error: OSError) -> RuntimeError:
    if existing == directory:
        return RuntimeError(f"cannot write in {directory}: {error.strerror}")
    return RuntimeError(f"cannot create {directory}: {existing}: {error.strerror}")
