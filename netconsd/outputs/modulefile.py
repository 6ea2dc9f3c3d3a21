"""One file of output modules: import it, find the modules in it, make one and see that it keeps its contract.

Whatever the file's author did wrong is a :exc:`FileError` with one paragraph for a person, never a traceback.
"""

from __future__ import annotations

import hashlib
import importlib.util
import itertools
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from netconsd.interfaces import IBatchOutputModule, ICountsLosses, IListening, IOutputModule, IReloadable
from netconsd.outputs.contract import disagreements
from netconsd.outputs.errors import place, raised

__all__ = ["FileError", "FoundModule", "forget", "import_file", "make", "outputs_in"]

_INTERFACES: Final[tuple[Any, ...]] = (IOutputModule, IBatchOutputModule)
_ALSO: Final[dict[Any, str]] = {IReloadable: "reload", IListening: "listening"}


class FileError(Exception):
    """A file or a module in it that cannot be used; ``str()`` begins with the path and is for the user as it is."""


@dataclass(frozen=True)
class FoundModule:
    """An output module that was found and is not made yet."""

    name: str
    """The file's stem, or ``stem.ClassName`` where the file has several."""
    path: Path
    source: type | ModuleType
    """The class to make it from, or the file itself."""
    interface: Any
    """Which of the two interfaces it says it provides."""


def import_file(path: Path) -> ModuleType:
    """Import a file under a name in ``sys.modules`` that is its own and that nothing else uses.

    It has to be there: dataclasses, pickle and typing look a class's module up by name. ``sys.path`` is not changed
    and no bytecode is written.

    :raises FileError: for whatever reason it cannot be imported; then it is not in ``sys.modules``.
    """
    try:
        code = compile(path.read_bytes(), str(path), "exec", dont_inherit=True)
    except OSError as error:
        raise FileError(f"{path}: {error.strerror}") from error
    except SyntaxError as error:
        raise FileError(f"{path}:{error.lineno or 1}: {type(error).__name__}: {error.msg}") from error
    except Exception as error:  # null bytes (ValueError), nesting too deep (RecursionError, MemoryError)
        raise FileError(f"{path}: cannot be compiled: {raised(error)}") from error
    spec = importlib.util.spec_from_file_location(_private_name(path), path)
    assert spec is not None, "every .py file has a spec"
    module = importlib.util.module_from_spec(spec)
    sys.modules[module.__name__] = module
    try:
        exec(code, vars(module))
    except BaseException as error:
        forget(module)
        if isinstance(error, KeyboardInterrupt):
            raise
        if isinstance(error, SystemExit):
            text = f"{place(str(path), error)}: the file ends the program when it is imported ({raised(error)})"
        else:
            text = f"{place(str(path), error)}: {raised(error)}"
        if isinstance(error, ModuleNotFoundError):
            text += "; install it, or import it in start(), so that only those who use this module need it"
        raise FileError(text) from error
    return module


def forget(module: ModuleType) -> None:
    """Take an imported file out of ``sys.modules``."""
    if sys.modules.get(module.__name__) is module:
        del sys.modules[module.__name__]


def outputs_in(module: ModuleType, path: Path) -> list[FoundModule]:
    """Find the output modules of an imported file: its public classes, in order, or the file itself; or none.

    :raises FileError: where what is meant cannot be told: both interfaces at once, a file that is a module and has
        modules, or three methods without ``@implementer``.
    """
    own = {
        value: None
        for value in vars(module).values()
        if isinstance(value, type) and value.__module__ == module.__name__ and not value.__name__.startswith("_")
    }
    found = []
    for cls in own:
        interfaces = [interface for interface in _INTERFACES if interface.implementedBy(cls)]
        if interfaces:
            found.append((cls, _one(interfaces, f"{path}: class {cls.__name__}")))
    for cls in own:
        if _looks_like_one(cls) and not any(issubclass(output, cls) for output, _ in found):
            raise FileError(
                f"{path}: class {cls.__name__} has the methods of an output module, but does not say that it is one: "
                f"write @implementer({_looks_like_one(cls)}) above it"
            )
    provided = [interface for interface in _INTERFACES if interface.providedBy(module)]
    if provided and found:
        raise FileError(f"{path}: the file says that it is an output module, but class {found[0][0].__name__} is, too")
    if provided:
        return [FoundModule(path.stem, path, module, _one(provided, f"{path}: the file"))]
    if not found and _looks_like_one(module):
        raise FileError(
            f"{path}: the file has the functions of an output module, but does not say that it is one: "
            f"write moduleProvides({_looks_like_one(module)}) above them"
        )
    several = len(found) > 1
    return [
        FoundModule(f"{path.stem}.{cls.__name__}" if several else path.stem, path, cls, interface)
        for cls, interface in found
    ]


def make(output: FoundModule, arguments: Mapping[str, Any]) -> Any:
    """Make an output module with its settings, and see that it has what its interface asks for.

    :raises FileError: if its constructor raises, or a method is missing or cannot be called as it will be.
    """
    made: Any = output.source
    if isinstance(output.source, type):
        try:
            made = output.source(**arguments)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            where = place(str(output.path), error)
            raise FileError(f"{where}: module {output.name} cannot be made: {raised(error)}") from error
    wrong = disagreements(output.interface, made)
    for also, method in _ALSO.items():
        if also.providedBy(made):
            wrong += disagreements(also, made)
        elif callable(getattr(made, method, None)):
            name = also.__name__
            wrong.append(f"it has {method}(), but does not say so: implement {name}, too, or call it something else")
    if ICountsLosses.providedBy(made):
        # Without that it may well have something called lost.
        wrong += disagreements(ICountsLosses, made)
    if wrong:
        raise FileError(f"{output.path}: {', and '.join(wrong)}")
    return made


def _private_name(path: Path) -> str:
    """Name a file in ``sys.modules``; the same in every run, so that what one run pickled another can read."""
    digest = hashlib.sha256(os.fsencode(os.path.realpath(path))).hexdigest()[:8]
    name = f"_netconsd_{path.stem.replace('.', '_')}_{digest}"
    if name not in sys.modules:
        return name
    return next(free for count in itertools.count(2) if (free := f"{name}_{count}") not in sys.modules)


def _one(interfaces: list[Any], who: str) -> Any:
    if len(interfaces) > 1:
        raise FileError(f"{who} implements both IOutputModule and IBatchOutputModule; a module is one of them")
    return interfaces[0]


def _looks_like_one(thing: type | ModuleType) -> str | None:
    """The interface whose methods a class or file has, whatever it declares."""
    for interface in _INTERFACES:
        if all(callable(getattr(thing, name, None)) for name in interface.names()):
            return str(interface.__name__)
    return None
