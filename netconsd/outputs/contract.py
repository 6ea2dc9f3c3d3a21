"""Whether an output module has what its interface asks for, said in plain words to its author."""

from __future__ import annotations

import inspect
from types import FunctionType, MethodType, ModuleType
from typing import Any

from zope.interface import Invalid
from zope.interface.verify import verifyObject

from netconsd.outputs.errors import raised

__all__ = ["disagreements"]


def disagreements(interface: Any, made: Any) -> list[str]:
    """Say everything that keeps an object from being what it says it is; nothing if it is.

    :param made: the object itself, never its class: only so the functions of a file and what a constructor sets
        count. The signatures of compiled methods cannot be seen and are taken to be right.
    """
    try:
        wrong = [text for name in interface.names() if (text := _wrong_with(interface[name], made))]
        if not wrong:
            verifyObject(interface, made)
    except Invalid as error:
        return [raised(error)]
    except Exception as error:  # a property that raises
        return [f"looking at its methods raised {raised(error)}"]
    return wrong


def _wrong_with(wanted: Any, made: Any) -> str | None:
    """Say what is wrong with one method, named as in its definition: with the class and ``self``, unless of a file."""
    name = wanted.getName()
    whose = "" if isinstance(made, ModuleType) else f"{type(made).__name__}."
    definition = f"{name}({', '.join([*(['self'] if whose else []), *wanted.positional])})"
    try:
        method = getattr(made, name)
    except AttributeError:
        return f"{whose}{definition} is missing"
    if not callable(method):
        return f"{whose}{name} is not a method; write def {definition}"
    if not _takes(method, len(wanted.positional)):
        found = inspect.signature(getattr(method, "__func__", method))
        return f"{whose}{name} must be defined as {definition}, not {name}{found}"
    if name.startswith("handle") and inspect.iscoroutinefunction(method):
        return f"{whose}{name} is called in a worker's thread, where nothing awaits it: no async def"
    return None


def _takes(method: Any, count: int) -> bool:
    """Whether a method can be called with so many arguments by position, as it will be."""
    try:
        signature = inspect.signature(method)
    except ValueError:
        # A method without self has no signature, nor have some compiled ones, which may well be right.
        return not (isinstance(method, MethodType) and isinstance(method.__func__, FunctionType))
    try:
        signature.bind(*range(count))
    except TypeError:
        return False
    return True
