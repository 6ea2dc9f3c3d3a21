"""Standard output of the commands: everything is written, or the command ends with status 1."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress

#: The text for a start that failed for lack of memory. Here, because importing most other files needs more memory.
NO_MEMORY = (
    "there is not enough memory; raise the limit (ulimit -v; MemoryMax= or LimitAS= of a service), or lower --batch, "
    "which reserves half a megabyte of address space for each datagram and listener"
)


def put(text: str | bytes, prog: str) -> None:
    """Write a text and a newline, or bytes, to standard output at once.

    :param text: bytes are written unchanged, whatever the terminal's encoding is.
    :param prog: the name of the command, for an error.
    :raises SystemExit: with status 1, if it cannot be written. The reason is on stderr, except when the reader closed
        the pipe, as ``| head`` does.
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
    """Redirect standard output to /dev/null, because Python would try to write the rest again at its end."""
    with suppress(OSError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
