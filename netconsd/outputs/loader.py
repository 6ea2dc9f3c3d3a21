"""Find output modules, import them, make them with their settings, and explain in plain words what stands against it.

What a module is, is said in :mod:`netconsd.interfaces`. This file decides which files are looked at and which of their
modules start; :mod:`netconsd.outputs.modulefile` imports one file and finds the modules in it,
:mod:`netconsd.outputs.parameters` reads their settings, :mod:`netconsd.outputs.native` loads a compiled one.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from netconsd.outputs.modulefile import FileError, FoundModule, forget, import_file, make, outputs_in
from netconsd.outputs.native import NativeModule, NoHandler
from netconsd.outputs.parameters import AuthorError, bind, parameters, suggestion
from netconsd.outputs.setting_types import ModuleSetting

__all__ = [
    "SHIPPED",
    "Loaded",
    "ModuleError",
    "ModuleSetting",
    "Selection",
    "Skipped",
    "files_of",
    "is_bare_name",
    "load",
]

SHIPPED: Final = Path(__file__).parents[1] / "modules"

_Settings = Mapping[str, Mapping[str, ModuleSetting]]


class ModuleError(Exception):
    """Output modules that cannot be loaded or started: ``str()`` is the whole text for the user, with every failure."""


@dataclass(frozen=True)
class Loaded:
    """A module that is ready to be started."""

    name: str
    """The file's stem, or ``stem.ClassName`` where one file has several modules."""
    path: Path
    module: Any
    """What provides one of the two interfaces: an instance, or the imported file."""


@dataclass(frozen=True)
class Skipped:
    """What was found in a directory and does not start."""

    name: str
    path: Path
    reason: str


@dataclass(frozen=True)
class Selection:
    """What :func:`load` found, each in the order of the search."""

    loaded: tuple[Loaded, ...]
    skipped: tuple[Skipped, ...]


@dataclass
class _Outcome:
    """What came of one file, or of a specification that led to none."""

    stem: str
    path: Path
    names: list[str] = field(default_factory=list)
    loaded: list[Loaded] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    imported: ModuleType | None = None


def load(specs: Sequence[str | Path], settings: _Settings, spare: Collection[str] = ()) -> Selection:
    """Load the modules that a user asked for.

    Files are imported and constructors called, which may take a while; nothing is started.

    :param specs: each a ``.py`` or ``.so`` file, a directory of such files, or the bare name of a module that is
        shipped with netconsd; relative paths are relative to the working directory. From a directory come the files
        whose names do not begin with ``_`` or a dot, and of their modules only those start that need no settings or are
        named in ``settings``. A file that is reached twice is loaded once.
    :param settings: the settings of each module by the module's name.
    :param spare: names in ``settings`` that no module needs to have; all others must be found.
    :raises ModuleError: if anything that was asked for cannot be loaded; then nothing stays in ``sys.modules``.
    """
    files, outcomes = _find(specs)
    outcomes += [_load_file(path, asked_for, settings) for path, asked_for in files]
    failures = [failure for outcome in outcomes for failure in outcome.failures]
    failures += _twice(outcomes) + _unknown(outcomes, settings, spare)
    for outcome in outcomes:
        if outcome.imported is not None and (failures or not outcome.loaded):
            forget(outcome.imported)
    if failures:
        raise ModuleError(_in_one(failures))
    return Selection(
        tuple(loaded for outcome in outcomes for loaded in outcome.loaded),
        tuple(skipped for outcome in outcomes for skipped in outcome.skipped),
    )


def is_bare_name(spec: str, base: Path) -> bool:
    """Tell the name of a shipped module from a path: no slash, no suffix, and nothing in ``base`` is called so."""
    # Path.exists would raise where it may not look.
    return "/" not in spec and not spec.endswith((".py", ".so")) and not os.path.exists(base / spec)


def _find(specs: Sequence[str | Path]) -> tuple[list[tuple[Path, bool]], list[_Outcome]]:
    """List the files to load, each once, with whether the user asked for that very file; and what led to none."""
    files: dict[str, tuple[Path, bool]] = {}
    failed = []
    for spec in specs:
        try:
            for path, asked_for in files_of(spec):
                identity = os.path.realpath(path)
                first, before = files.get(identity, (path, False))
                files[identity] = (first, before or asked_for)
        except FileError as error:
            failed.append(_Outcome(Path(spec).stem, Path(spec), failures=[str(error)]))
    return list(files.values()), failed


def files_of(spec: str | Path) -> list[tuple[Path, bool]]:
    """List the files that a specification of :func:`load` means, each with whether it names that very file.

    :raises FileError: if there is none.
    """
    if isinstance(spec, str) and is_bare_name(spec, Path.cwd()):
        return [(_shipped(spec), True)]
    path = Path(spec).absolute()
    try:
        path.stat()
        if not path.is_dir():
            if path.suffix not in (".py", ".so"):
                raise FileError(f"{path}: is neither a .py file, nor a .so file, nor a directory")
            return [(path, True)]
        entries = sorted(path.iterdir())
    except OSError as error:
        raise FileError(f"{path}: {error.strerror}") from error
    except ValueError as error:  # a null byte in it
        raise FileError(f"{str(path)!r}: {error}") from error
    return [
        (entry, False)
        for entry in entries
        if entry.suffix in (".py", ".so") and not entry.name.startswith(("_", ".")) and not entry.is_dir()
    ]


def _shipped(name: str) -> Path:
    path = SHIPPED / f"{name}.py"
    if path.is_file():
        return path
    names = sorted(file.stem for file in SHIPPED.glob("*.py") if not file.name.startswith(("_", ".")))
    raise FileError(
        f'no module "{name}" is shipped with netconsd (there are: {", ".join(names)}), '
        f"nor is there a file or directory of that name{suggestion(name, names)}"
    )


def _load_file(path: Path, asked_for: bool, settings: _Settings) -> _Outcome:
    outcome = _Outcome(path.stem, path)
    try:
        if path.suffix == ".so":
            _load_native(asked_for, settings, outcome)
            return outcome
        outcome.imported = import_file(path)
        outputs = outputs_in(outcome.imported, path)
        if not outputs and asked_for:
            raise FileError(f"{path}: no output module in it (docs/modules says what makes one)")
        if not outputs:
            outcome.skipped.append(Skipped(path.stem, path, "no output module in it"))
    except FileError as error:
        outcome.failures.append(str(error))
        return outcome
    for output in outputs:
        outcome.names.append(output.name)
        _load_output(output, asked_for, settings, outcome)
    return outcome


def _load_native(asked_for: bool, settings: _Settings, outcome: _Outcome) -> None:
    """Load a compiled module, and note in the outcome what came of it.

    :raises FileError: if it cannot be loaded.
    """
    name, path = outcome.stem, outcome.path
    try:
        module = NativeModule(path)
    except NoHandler as error:
        if asked_for:
            raise
        outcome.skipped.append(Skipped(name, path, str(error).removeprefix(f"{path}: ")))
        return
    outcome.names.append(name)
    outcome.failures += [
        f'{setting.origin}: module {name} has no setting "{key}": it is compiled ({path.name}), and such take none'
        for key, setting in settings.get(name, {}).items()
    ]
    outcome.loaded.append(Loaded(name, path, module))


def _load_output(output: FoundModule, asked_for: bool, settings: _Settings, outcome: _Outcome) -> None:
    """Make one module if it is to start, and note in the outcome what came of it."""
    try:
        having = parameters(output.source) if isinstance(output.source, type) else []
        lacking = [f'"{parameter.name}" ({parameter.kind})' for parameter in having if parameter.required]
        if lacking and not asked_for and output.name not in settings:
            reason = f"needs the setting{'s' if len(lacking) > 1 else ''} {', '.join(lacking)}"
            outcome.skipped.append(Skipped(output.name, output.path, reason))
            return
        arguments, wrong = bind(having, settings.get(output.name, {}), output.name)
        outcome.failures += wrong
        if not wrong:
            outcome.loaded.append(Loaded(output.name, output.path, make(output, arguments)))
    except AuthorError as error:
        outcome.failures.append(f"{output.path}: module {output.name}: {error}")
    except FileError as error:
        outcome.failures.append(str(error))


def _twice(outcomes: list[_Outcome]) -> list[str]:
    """Say which files have modules of the same name, which settings and logs could not tell apart."""
    first: dict[str, Path] = {}
    return [
        f'two modules are called "{name}": {first[name]} and {outcome.path}; rename one of the files'
        for outcome in outcomes
        for name in outcome.names
        if first.setdefault(name, outcome.path) != outcome.path
    ]


def _unknown(outcomes: list[_Outcome], settings: _Settings, spare: Collection[str]) -> list[str]:
    """Say which settings are for no module that was found, unless it is one that failed and whose names are unknown."""
    known = [name for outcome in outcomes for name in outcome.names]
    failed = {outcome.stem for outcome in outcomes if not outcome.names and outcome.failures}
    texts = []
    for name, given in settings.items():
        if name in spare or name in known or name in failed or name.partition(".")[0] in failed:
            continue
        origin = next(iter(given.values())).origin if given else f"settings of {name}"
        parts = [part for part in known if part.startswith(f"{name}.")]
        hint = f'; write [module."{parts[0]}"] or --set {parts[0]}.KEY=VALUE' if parts else suggestion(name, known)
        others = (
            f", only {', '.join(known)}" if known else ", nor any other; --modules, or modules in the file, names them"
        )
        texts.append(f'{origin}: no module "{name}" was found{others}{hint}')
    return texts


def _in_one(failures: list[str]) -> str:
    if len(failures) == 1:
        return failures[0]
    return f"{len(failures)} things are wrong with the output modules:" + "".join(f"\n  - {text}" for text in failures)
