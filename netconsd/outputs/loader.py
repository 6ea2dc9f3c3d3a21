"""Finds output modules, imports and creates them with their settings, and reports all errors in one text.

:mod:`netconsd.interfaces` defines an output module. This file selects the files, and the modules in them that start.
:mod:`netconsd.outputs.modulefile` imports one file and finds its modules, :mod:`netconsd.outputs.parameters` reads
their settings, and :mod:`netconsd.outputs.native` loads a compiled module.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from netconsd.outputs.errors import about_setting, joined
from netconsd.outputs.modulefile import FileError, FoundModule, forget, import_file, make, outputs_in
from netconsd.outputs.native import NativeModule, NoHandler
from netconsd.outputs.parameters import AuthorError, bind, parameters, some, suggestion
from netconsd.outputs.setting_types import ModuleSetting

SHIPPED: Final = Path(__file__).parents[1] / "modules"

_Settings = Mapping[str, Mapping[str, ModuleSetting]]


class ModuleError(Exception):
    """Output modules cannot be loaded or started; ``str()`` is the complete text for the user, with all errors."""


@dataclass(frozen=True)
class Loaded:
    """A module that was created and can be started."""

    name: str
    """The file's stem, or ``stem.ClassName`` if the file has several modules."""
    path: Path
    module: Any
    """The instance or imported file that provides an interface of output modules."""
    found: FoundModule | None = None
    """The class or imported file that the module was made from; None for a compiled module."""


@dataclass(frozen=True)
class Skipped:
    """A file or module in a directory that does not start."""

    name: str
    path: Path
    reason: str
    available: bool = False
    """True for a module that ``reason`` says how to start."""
    found: FoundModule | None = None
    """As of :class:`Loaded`, if the module is available."""


@dataclass(frozen=True)
class Selection:
    """The result of :func:`load`, in the order of the search."""

    loaded: tuple[Loaded, ...]
    skipped: tuple[Skipped, ...]
    faulty: tuple[Loaded, ...] = ()
    """Modules that were created without their wrong settings, so that a check can ask them for further errors."""


@dataclass
class _Outcome:
    """The result of loading one file, or of a specification without a file."""

    stem: str
    path: Path
    names: list[str] = field(default_factory=list)
    loaded: list[Loaded] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    faulty: list[Loaded] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    imported: ModuleType | None = None


def load(
    specs: Sequence[str | Path],
    settings: _Settings,
    spare: Collection[str] = (),
    *,
    errors: list[str] | None = None,
) -> Selection:
    """Load the specified modules.

    Imports files and calls constructors, which can take a while; starts nothing.

    :param specs: each a ``.py`` or ``.so`` file, a directory of such files, or the bare name of a module that is
        shipped with netconsd. Paths are relative to the working directory. In a directory, files whose names begin with
        ``_`` or a dot are ignored, and only modules that need no settings or are named in ``settings`` start, and
        none with ``only_if_named`` that is not named there. A file that is specified twice is loaded once.
    :param settings: the settings of each module by the module's name.
    :param spare: names in ``settings`` that need not be those of a module.
    :param errors: receives a text for each error; the modules without an error are returned.
    :raises ModuleError: without ``errors``, if a specified module cannot be loaded; then no file stays in
        ``sys.modules``.
    """
    files, outcomes = _find(specs)
    outcomes += [_load_file(path, explicit, settings) for path, explicit in files]
    failures = [failure for outcome in outcomes for failure in outcome.failures]
    failures += _same_names(outcomes) + _unknown(outcomes, settings, spare)
    for outcome in outcomes:
        if outcome.imported is not None and ((failures and errors is None) or not (outcome.loaded or outcome.faulty)):
            forget(outcome.imported)
    if errors is not None:
        errors += failures
    elif failures:
        raise ModuleError(joined(failures, "errors in the output modules"))
    return Selection(
        tuple(loaded for outcome in outcomes for loaded in outcome.loaded),
        tuple(skipped for outcome in outcomes for skipped in outcome.skipped),
        tuple(faulty for outcome in outcomes for faulty in outcome.faulty),
    )


def changed_errors(
    selection: Selection,
    before: _Settings,
    settings: _Settings,
    spare: Collection[str] = (),
    specs: Sequence[str | Path] = (),
) -> list[str]:
    """Return a text for each error that a restart with new settings would have, as far as that can be seen now.

    The constructors of modules with changed settings are called; nothing is imported or started.

    :param before: the settings that the modules were loaded with.
    :param settings: the new settings.
    :param spare: names in the new settings that need not be those of a module.
    :param specs: the specifications of the modules that a restart would load.
    """
    known: list[Loaded | Skipped] = [*selection.loaded, *selection.skipped]
    outcomes = [_Outcome(each.path.stem, each.path, [each.name]) for each in known]
    # The names of modules in files that are not imported yet are not known.
    files, failed = _find(specs)
    stems = {path.stem for path, _ in files} - {each.path.stem for each in known}
    unknown = {name for name in settings if name.partition(".")[0] in stems | {outcome.stem for outcome in failed}}
    errors = [failure for outcome in failed for failure in outcome.failures]
    errors += _unknown(outcomes, settings, {*spare, *unknown})
    for each in known:
        values = settings.get(each.name, {})
        if _values(values) == _values(before.get(each.name, {})):
            continue
        if each.found is not None:
            outcome = _Outcome(each.path.stem, each.path)
            _load_output(each.found, True, settings, outcome)
            errors += outcome.failures
        elif isinstance(each, Loaded):
            errors += _native_errors(each.name, each.path, values)
    return errors


def _values(settings: Mapping[str, ModuleSetting]) -> dict[str, tuple[object, bool]]:
    return {name: (setting.value, setting.typed) for name, setting in settings.items()}


def available(skipped: Sequence[Skipped]) -> list[str]:
    """The lines for the user about the modules and files of directories that do not start."""
    startable = [f"{each.name} ({each.reason})" for each in skipped if each.available]
    lines = [f"available, not started: {', '.join(startable)}"] if startable else []
    return lines + [f"not used: {each.path}: {each.reason}" for each in skipped if not each.available]


def is_bare_name(spec: str, base: Path) -> bool:
    """True if a specification is the name of a shipped module: no slash, no suffix, and no such file in ``base``.

    A directory of the name of a shipped module has precedence only with a module in it: ``store`` in the working
    directory is more often the directory of the module's own files.
    """
    if "/" in spec or spec.endswith((".py", ".so")):
        return False
    # Unlike this function, Path.exists raises PermissionError for some paths.
    if not os.path.exists(base / spec):
        return True
    return (SHIPPED / f"{spec}.py").is_file() and not _has_modules(base / spec)


def _has_modules(path: Path) -> bool:
    if not path.is_dir():
        return True
    try:
        with os.scandir(path) as entries:
            return any(_is_module(Path(entry.name)) and not entry.is_dir() for entry in entries)
    except OSError:
        return True


def _is_module(path: Path) -> bool:
    """Return whether a name in a directory is that of a module."""
    return path.suffix in (".py", ".so") and not path.name.startswith(("_", "."))


def _find(specs: Sequence[str | Path]) -> tuple[list[tuple[Path, bool]], list[_Outcome]]:
    """The files to load, each once and with whether a specification names it, and the failed specifications."""
    files: dict[str, tuple[Path, bool]] = {}
    failed = []
    for spec in specs:
        try:
            for path, explicit in files_of(spec):
                identity = os.path.realpath(path)
                first, explicit_before = files.get(identity, (path, False))
                files[identity] = (first, explicit_before or explicit)
        except FileError as error:
            failed.append(_Outcome(Path(spec).stem, Path(spec), failures=[str(error)]))
    return list(files.values()), failed


def files_of(spec: str | Path) -> list[tuple[Path, bool]]:
    """Return the files of a specification of :func:`load`, each with whether the specification names it.

    :raises FileError: if there is no file.
    """
    if isinstance(spec, str) and is_bare_name(spec, Path.cwd()):
        return [(_shipped(spec), True)]
    path = Path(spec).absolute()
    try:
        path.stat()
        if not path.is_dir():
            if path.suffix not in (".py", ".so"):
                raise FileError(f"{path}: not a .py file, a .so file or a directory; name one of these with --modules")
            return [(path, True)]
        entries = sorted(path.iterdir())
    except OSError as error:
        raise FileError(f"{path}: {error.strerror}") from error
    except ValueError as error:  # a null byte in the path
        raise FileError(f"{str(path)!r}: {error}") from error
    return [(entry, False) for entry in entries if _is_module(entry) and not entry.is_dir()]


def _shipped(name: str) -> Path:
    path = SHIPPED / f"{name}.py"
    if path.is_file():
        return path
    names = sorted(file.stem for file in SHIPPED.glob("*.py") if not file.name.startswith(("_", ".")))
    raise FileError(
        f'no module "{name}" is shipped with netconsd, and no file or directory has that name'
        + (suggestion(name, names) or f"; shipped are {some(names)}")
    )


def _load_file(path: Path, explicit: bool, settings: _Settings) -> _Outcome:
    outcome = _Outcome(path.stem, path)
    if not explicit and (reason := _unused(path)):
        outcome.skipped.append(Skipped(path.stem, path, reason))
        return outcome
    try:
        if path.suffix == ".so":
            _load_native(explicit, settings, outcome)
            return outcome
        outcome.imported = import_file(path)
        outputs = outputs_in(outcome.imported, path)
        if not outputs and explicit:
            raise FileError(f"{path}: no output module in it; docs/modules describes how to write one")
        if not outputs:
            outcome.skipped.append(Skipped(path.stem, path, "no output module in it"))
    except FileError as error:
        outcome.failures.append(str(error))
        return outcome
    for output in outputs:
        outcome.names.append(output.name)
        _load_output(output, explicit, settings, outcome)
    return outcome


def _unused(path: Path) -> str | None:
    """The reason not to load a file of a directory, or None; without opening it, because a FIFO would block."""
    if path.exists() and not path.is_file():
        return "not a regular file"
    name = path.name
    if name == "conftest.py" or (name.endswith(".py") and (name.startswith("test_") or name.endswith("_test.py"))):
        return "a test, by its name"
    return None


def _load_native(explicit: bool, settings: _Settings, outcome: _Outcome) -> None:
    """Load a compiled module, and add the result to the outcome.

    :raises FileError: if the module cannot be loaded.
    """
    name, path = outcome.stem, outcome.path
    try:
        module = NativeModule(path)
    except NoHandler as error:
        if explicit:
            raise
        outcome.skipped.append(Skipped(name, path, str(error).removeprefix(f"{path}: ")))
        return
    outcome.names.append(name)
    outcome.failures += _native_errors(name, path, settings.get(name, {}))
    outcome.loaded.append(Loaded(name, path, module))


def _native_errors(name: str, path: Path, settings: Mapping[str, ModuleSetting]) -> list[str]:
    return [
        f'{setting.origin}: module {name} has no setting "{key}": compiled modules ({path.name}) have none'
        for key, setting in settings.items()
    ]


def _load_output(output: FoundModule, explicit: bool, settings: _Settings, outcome: _Outcome) -> None:
    """Create a module if it is to start, and add the result to the outcome."""
    try:
        known = parameters(output.source) if isinstance(output.source, type) else []
        required = [f"{output.name}.{parameter.name}" for parameter in known if parameter.required]
        if required and not explicit and output.name not in settings:
            reason = f"set {', '.join(required)}"
            outcome.skipped.append(Skipped(output.name, output.path, reason, True, output))
            return
        if not explicit and output.name not in settings and getattr(output.source, "only_if_named", False):
            outcome.skipped.append(Skipped(output.name, output.path, "name it to start it", True, output))
            return
        values = settings.get(output.name, {})
        arguments, errors = bind(known, values, output.name)
        outcome.failures += errors
        if any(parameter.required and parameter.name not in arguments for parameter in known):
            return
        module, used = _made(output, arguments, values, outcome.failures, complete=not errors)
        if module is None:
            return
        loaded = Loaded(output.name, output.path, module, output)
        if used == set(values):
            outcome.loaded.append(loaded)
        elif not any(parameter.kind == "path" for parameter in known if parameter.name in set(values) - used):
            # Without a path that is wrong, a check would test another place.
            outcome.faulty.append(loaded)
    except AuthorError as error:
        outcome.failures.append(f"{output.path}: module {output.name}: {error}")
    except FileError as error:
        outcome.failures.append(str(error))


def _made(
    output: FoundModule,
    arguments: dict[str, Any],
    settings: Mapping[str, ModuleSetting],
    failures: list[str],
    *,
    complete: bool,
) -> tuple[Any | None, set[str]]:
    """Create a module, and add all errors of its constructor to ``failures``.

    A constructor reports a wrong setting by a ValueError whose text begins with the setting: ``max_size: ...``. The
    error gets the place of the setting; then the constructor is called again without it, and reports the next one.

    :param complete: whether the arguments are those of all settings.
    :returns: the module, and the settings that it has; no module if it cannot be created without the wrong settings.
    :raises FileError: see :func:`~netconsd.outputs.modulefile.make`; for errors that name no setting.
    """
    left = dict(arguments)
    while True:
        try:
            return make(output, left), set(left)
        except FileError as error:
            about = about_setting(error.__cause__, left)
            if about is None:
                # Without the settings that were wrong, the constructor may have other errors.
                if complete:
                    raise
                return None, set()
            name, reason = about
            failures.append(f"{settings[name].origin}: {reason}")
            del left[name]
            complete = False


def _same_names(outcomes: list[_Outcome]) -> list[str]:
    """The errors of files whose modules have the same name, which settings and logs could not distinguish."""
    first: dict[str, Path] = {}
    return [
        f'two modules have the name "{name}": {first[name]} and {outcome.path}; rename one of the files'
        for outcome in outcomes
        for name in outcome.names
        if first.setdefault(name, outcome.path) != outcome.path
    ]


def _unknown(outcomes: list[_Outcome], settings: _Settings, spare: Collection[str]) -> list[str]:
    """The errors of settings without a module, except for a file that failed and whose module names are unknown."""
    known = [name for outcome in outcomes for name in outcome.names]
    failed = {outcome.stem for outcome in outcomes if not outcome.names and outcome.failures}
    texts = []
    for name, values in settings.items():
        if name in spare or name in known or name in failed or name.partition(".")[0] in failed:
            continue
        origin = next(iter(values.values())).origin if values else f"settings of {name}"
        parts = [part for part in known if part.startswith(f"{name}.")]
        hint = f'; write [module."{parts[0]}"] or --set {parts[0]}.KEY=VALUE' if parts else suggestion(name, known)
        others = f", only {some(known)}" if known else " because no modules are loaded; load it with --modules"
        texts.append(f'{origin}: no module "{name}" was found{hint or others}')
    return texts
