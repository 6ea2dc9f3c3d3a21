"""Compares an output module with its interface, and reports the differences to its author."""

from __future__ import annotations

import inspect
from types import FunctionType, MethodType, ModuleType
from typing import Any

from zope.interface import Invalid
from zope.interface.verify import verifyObject

from netconsd.outputs.errors import raised


def disagreements(interface: Any, module: Any) -> list[str]:
    """Return each difference between an object and an interface as a text for its author; none if it conforms.

    :param module: the object, not its class, so that the functions of a file and attributes set by a constructor are
        found. The signatures of compiled methods cannot be read and are assumed to be right.
    """
    try:
        texts = [text for name in interface.names() if (text := _disagreement(interface[name], module))]
        if not texts:
            verifyObject(interface, module)
    except Invalid as error:
        return [raised(error)]
    except Exception as error:  # a property that raises
        return [f"reading its methods raised {raised(error)}"]
    return texts


def _disagreement(declared: Any, module: Any) -> str | None:
    """The error in one method; the text names the class and ``self``, except for the functions of a file."""
    name = declared.getName()
    prefix = "" if isinstance(module, ModuleType) else f"{type(module).__name__}."
    definition = f"{name}({', '.join([*(['self'] if prefix else []), *declared.positional])})"
    try:
        method = getattr(module, name)
    except AttributeError:
        return f"{prefix}{definition} is missing"
    if not callable(method):
        return f"{prefix}{name} is not a method; write def {definition}"
    if not _accepts(method, len(declared.positional)):
        signature = inspect.signature(getattr(method, "__func__", method))
        return f"{prefix}{name} must be defined as {definition}, not {name}{signature}"
    if name.startswith("handle") and inspect.iscoroutinefunction(method):
        return f"{prefix}{name} must not be async, because it is called in a worker's thread, where nothing awaits it"
    return None


def _accepts(method: Any, count: int) -> bool:
    """True if a method can be called with ``count`` positional arguments."""
    try:
        signature = inspect.signature(method)
    except ValueError:
        # Neither a method without self nor some compiled methods have a signature; the compiled ones may be right.
        return not (isinstance(method, MethodType) and isinstance(method.__func__, FunctionType))
    try:
        signature.bind(*range(count))
    except TypeError:
        return False
    return True
