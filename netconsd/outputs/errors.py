"""Exceptions of modules as text that is safe in a log and on a terminal, and lists of errors."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

from twisted.python.failure import Failure

from netconsd.rendering import printable


class PrintableFailure(Failure):
    """The current exception, with a traceback that is safe in a log and on a terminal.

    A module's exception may contain text from a stranger, for example a ValueError that quotes a message.
    """

    def getTraceback(self, *arguments: Any, **options: Any) -> str:  # noqa: N802 - Twisted's name
        """The traceback, each line :func:`~netconsd.rendering.printable`."""
        lines = super().getTraceback(*arguments, **options).split("\n")
        return "\n".join(printable(line) for line in lines)


def raised(error: BaseException) -> str:
    """An exception on one line: ``ValueError: no such field``. Never raises."""
    name = type(error).__name__
    try:
        text = " ".join(str(error).split())
    except Exception:
        return name
    return f"{name}: {text}" if text else name


def said(error: BaseException) -> str:
    """An exception as a text for the user, on one line; never raises.

    The name of the class is left out where the text is for people: of an OSError, a ValueError, a RuntimeError, an
    ImportError, and a class of a program. Python's other exceptions keep it, because ``KeyError: 'x'`` is ``'x'``
    without it.
    """
    try:
        text = " ".join(str(error).split())
        if isinstance(error, OSError) and error.strerror:
            return f"{error.filename}: {error.strerror}" if error.filename is not None else error.strerror
    except Exception:
        return raised(error)
    if isinstance(error, MemoryError):
        return "there is not enough memory"
    for_people = (
        isinstance(error, (ValueError, RuntimeError, ImportError, OSError)) or type(error).__module__ != "builtins"
    )
    return text if text and for_people else raised(error)


def about_setting(error: BaseException | None, settings: Container[str]) -> tuple[str, str] | None:
    """The setting and the reason of an error whose text begins with a setting: ``max_size: is less than 0``.

    :param settings: the names of the settings.
    :returns: None for any other error.
    """
    if not isinstance(error, (ValueError, RuntimeError)):
        return None
    name, _, reason = said(error).partition(": ")
    return (name, reason) if reason and name in settings else None


def place(path: str, error: BaseException) -> str:
    """``path:line`` for the innermost line of the file in the traceback; ``path`` if the file is not in it."""
    line = None
    traceback = error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename == path:
            line = traceback.tb_lineno
        traceback = traceback.tb_next
    return f"{path}:{line}" if line else path


def joined(errors: list[str], heading: str) -> str:
    """A single error as it is; several as a list under their number and the heading."""
    if len(errors) == 1:
        return errors[0]
    return f"{len(errors)} {heading}:" + "".join(f"\n  - {text}" for text in errors)
