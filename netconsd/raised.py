"""Exceptions of other people's code as one line for a person."""

from __future__ import annotations

__all__ = ["raised"]


def raised(error: BaseException) -> str:
    """Say on one line what was raised: ``ValueError: no such field``. Never raises itself."""
    name = type(error).__name__
    try:
        text = " ".join(str(error).split())
    except Exception:
        return name
    return f"{name}: {text}" if text else name
