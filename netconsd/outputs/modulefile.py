"""Imports a file of output modules, finds its modules, creates them, and checks them against their interface.

Any error in the file is a :exc:`FileError` with one paragraph of text for the user, never a traceback.
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

from netconsd.interfaces import (
    IBatchOutputModule,
    ICheckable,
    ICountsLosses,
    ICountsUnknownLosses,
    IEventModule,
    IExportsMetrics,
    IListening,
    IOutputModule,
    IReloadable,
    IReportModule,
    ISends,
    IUsesNames,
    IUsesSnapshots,
)
from netconsd.outputs.contract import disagreements
from netconsd.outputs.errors import place, raised, said

# The interfaces of output modules. The first two exclude each other.
_INTERFACES: Final[tuple[Any, ...]] = (IOutputModule, IBatchOutputModule, IReportModule, IEventModule)
_OPTIONAL: Final[dict[Any, str]] = {
    IReloadable: "reload",
    IListening: "listening",
    IUsesNames: "use_names",
    IUsesSnapshots: "use_snapshots",
    IReportModule: "handle_report",
    IEventModule: "handle_event",
}
# A module without the declaration may use the names of the methods for something else.
_DECLARED: Final[tuple[Any, ...]] = (ICountsLosses, ICountsUnknownLosses, ICheckable, IExportsMetrics, ISends)


class FileError(Exception):
    """A file or module that cannot be used; ``str()`` is the text for the user and begins with the path."""


@dataclass(frozen=True)
class FoundModule:
    """An output module in a file, before its creation."""

    name: str
    """The file's stem, or ``stem.ClassName`` if the file has several modules."""
    path: Path
    source: type | ModuleType
    """The class, or the file itself."""
    interfaces: tuple[Any, ...]
    """The interfaces of output modules that it declares, at least one."""


def import_file(path: Path) -> ModuleType:
    """Import a file under a unique name in ``sys.modules``.

    The entry is needed because dataclasses, pickle and typing look up a class's module by name. ``sys.path`` is not
    changed, and no bytecode is written.

    :raises FileError: if the file cannot be imported; then it is not in ``sys.modules``.
    """
    if path.exists() and not path.is_file():
        # The open of a FIFO would wait for its writer.
        raise FileError(f"{path}: is not a regular file")
    try:
        code = compile(path.read_bytes(), str(path), "exec", dont_inherit=True)
    except OSError as error:
        raise FileError(f"{path}: {error.strerror}") from error
    except SyntaxError as error:
        raise FileError(f"{path}:{error.lineno or 1}: is not valid Python: {error.msg}") from error
    except Exception as error:  # null bytes (ValueError), nesting too deep (RecursionError, MemoryError)
        raise FileError(f"{path}: cannot be compiled: {said(error)}") from error
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
            text = f"{place(str(path), error)}: the file exits the program when it is imported ({raised(error)})"
        else:
            text = f"{place(str(path), error)}: {said(error)}"
        if isinstance(error, ModuleNotFoundError):
            text += "; install it, or import it in start(), so that only users of this module need it"
        raise FileError(text) from error
    return module


def forget(module: ModuleType) -> None:
    """Remove an imported file from ``sys.modules``."""
    if sys.modules.get(module.__name__) is module:
        del sys.modules[module.__name__]


def outputs_in(module: ModuleType, path: Path) -> list[FoundModule]:
    """Return the output modules of an imported file: its public classes in order, or the file itself, or none.

    :raises FileError: if the declaration is ambiguous or missing: both interfaces, a file and a class, or the methods
        of an interface without ``@implementer``.
    """
    classes = {
        value: None
        for value in vars(module).values()
        if isinstance(value, type) and value.__module__ == module.__name__ and not value.__name__.startswith("_")
    }
    outputs = []
    for cls in classes:
        interfaces = [interface for interface in _INTERFACES if interface.implementedBy(cls)]
        if interfaces:
            outputs.append((cls, _compatible(interfaces, f"{path}: class {cls.__name__}")))
    for cls in classes:
        if _undeclared(cls) and not any(issubclass(output, cls) for output, _ in outputs):
            raise FileError(
                f"{path}: class {cls.__name__} has the methods of an output module but does not declare it; "
                f"write @implementer({_undeclared(cls)}) above the class"
            )
    provided = [interface for interface in _INTERFACES if interface.providedBy(module)]
    if provided and outputs:
        raise FileError(
            f"{path}: both the file and class {outputs[0][0].__name__} are declared as output modules; "
            "remove one of the declarations"
        )
    if provided:
        return [FoundModule(path.stem, path, module, _compatible(provided, f"{path}: the file"))]
    if not outputs and _undeclared(module):
        raise FileError(
            f"{path}: the file has the functions of an output module but does not declare it; "
            f"write moduleProvides({_undeclared(module)}) above the functions"
        )
    several = len(outputs) > 1
    return [
        FoundModule(f"{path.stem}.{cls.__name__}" if several else path.stem, path, cls, interfaces)
        for cls, interfaces in outputs
    ]


def make(output: FoundModule, arguments: Mapping[str, Any]) -> Any:
    """Create an output module with its settings, and check it against its interfaces.

    :raises FileError: if the constructor raises, or a method is missing or has other parameters than in the interface.
    """
    module: Any = output.source
    if isinstance(output.source, type):
        try:
            module = output.source(**arguments)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            line = place(str(output.path), error)
            raise FileError(f"{line}: module {output.name} cannot be created: {said(error)}") from error
    # Interfaces share methods, so that an error of one can be one of another as well.
    texts = list(dict.fromkeys(text for interface in output.interfaces for text in disagreements(interface, module)))
    for interface, method in _OPTIONAL.items():
        if interface in output.interfaces:
            continue
        if interface.providedBy(module):
            texts += disagreements(interface, module)
        elif callable(getattr(module, method, None)):
            name = interface.__name__
            texts.append(f"it has {method}() but does not declare {name}; declare it as well, or rename the method")
    for interface in _DECLARED:
        if interface.providedBy(module):
            texts += disagreements(interface, module)
    if texts:
        raise FileError(f"{output.path}: {', and '.join(texts)}")
    return module


def _private_name(path: Path) -> str:
    """The name of a file in ``sys.modules``; the same in every run, so that another run can read its pickles."""
    digest = hashlib.sha256(os.fsencode(os.path.realpath(path))).hexdigest()[:8]
    name = f"_netconsd_{path.stem.replace('.', '_')}_{digest}"
    if name not in sys.modules:
        return name
    return next(free for count in itertools.count(2) if (free := f"{name}_{count}") not in sys.modules)


def _compatible(interfaces: list[Any], subject: str) -> tuple[Any, ...]:
    if IOutputModule in interfaces and IBatchOutputModule in interfaces:
        raise FileError(f"{subject} declares both IOutputModule and IBatchOutputModule; declare one of them")
    return tuple(interfaces)


def _undeclared(source: type | ModuleType) -> str | None:
    """The name of the interface whose methods a class or file has, independent of its declarations."""
    for interface in _INTERFACES:
        if all(callable(getattr(source, name, None)) for name in interface.names()):
            return str(interface.__name__)
    return None
