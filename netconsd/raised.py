"""Exceptions of other people's code as one line for a person."""

from __future__ import annotations

__all__ = ["place", "raised"]


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
