"""Exceptions of other people's code as one line for a person."""

from __future__ import annotations

from typing import Any

from twisted.python.failure import Failure

from netconsd.rendering import printable

__all__ = ["PrintableFailure", "place", "raised"]


class PrintableFailure(Failure):
    """The exception that is being handled, whose traceback is safe in a log and on a terminal.

    A module may well raise what a stranger has sent, in a ValueError about a text for example.
    """

    def getTraceback(self, *arguments: Any, **options: Any) -> str:  # noqa: N802 - Twisted's name
        """The lines of the traceback, made :func:`~netconsd.rendering.printable`."""
        lines = super().getTraceback(*arguments, **options).split("\n")
        return "\n".join(printable(line) for line in lines)


def raised(error: BaseException) -> str:
    """Say on one line what was raised: ``ValueError: no such field``. Never raises itself."""
    name = type(error).__name__
    try:
        text = " ".join(str(error).split())
    except Exception:
        return name
    return f"{name}: {text}" if text else name


def place(path: str, error: BaseException) -> str:
    """``path:line`` of the last line of a file that an exception came through; the path alone if it did not."""
    line = None
    traceback = error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename == path:
            line = traceback.tb_lineno
        traceback = traceback.tb_next
    return f"{path}:{line}" if line else path
