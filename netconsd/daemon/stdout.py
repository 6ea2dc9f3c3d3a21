"""What commands print on standard output: all of it, or the command ends with a status that says it was not."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress

__all__ = ["forget_stdout", "put"]


def put(text: str | bytes, prog: str) -> None:
    """Print this, with a newline behind text, at once.

    :param text: bytes go out as they are, whatever the terminal's encoding is.
    :param prog: the command, for what it says on stderr.
    :raises SystemExit: with status 1, if it cannot be written; why is said on stderr, but for a reader who has enough,
        as ``| head``.
    """
    try:
        if sys.stdout is None:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        if isinstance(text, bytes):
            sys.stdout.flush()
            sys.stdout.buffer.write(text)
            sys.stdout.buffer.flush()
        else:
            print(text, flush=True)
    except BrokenPipeError:
        forget_stdout()
        raise SystemExit(1) from None
    except OSError as error:
        forget_stdout()
        print(f"{prog}: standard output: {error.strerror}", file=sys.stderr)
        raise SystemExit(1) from None


def forget_stdout() -> None:
    """Let standard output, which could not be written, go nowhere: at its end Python would try again, and complain."""
    with suppress(OSError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
