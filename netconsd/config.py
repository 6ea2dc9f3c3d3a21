"""Put together what the command line, the configuration file and the defaults say, in this order of precedence.

Every text of an error begins with the place to mend: ``--port: ...`` or ``netconsd.toml:3: port: ...``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

from netconsd.annotations import Setting
from netconsd.loader import is_bare_name
from netconsd.parameters import suggestion
from netconsd.settings import ConfigError, Settings, problem
from netconsd.tomlfile import TomlFile

__all__ = ["OPTIONS", "Configuration", "configure"]


@dataclass(frozen=True)
class Configuration:
    """All that a daemon is started with; paths are absolute, so that the working directory may change."""

    settings: Settings
    modules: tuple[str, ...] = ()
    """What to load: absolute paths, and bare names of shipped modules."""
    module_settings: dict[str, dict[str, Setting]] = field(default_factory=dict)
    spare: frozenset[str] = frozenset()
    """Names in ``module_settings`` that need not be found: the file has settings for them, but the modules to load
    are those of the command line."""


class _Option(NamedTuple):
    """How an option becomes fields of :class:`netconsd.settings.Settings`; see the functions below."""

    fields: Callable[[Any], dict[str, Any]]
    """Takes a value of TOML; raises ValueError with the reason."""
    from_text: Callable[[str], Any]
    """Takes text from the command line, and leaves what it cannot read as it is, for ``fields`` to refuse."""


def configure(
    given: Mapping[str, str],
    *,
    modules: Sequence[str] = (),
    sets: Sequence[str] = (),
    config: str | None = None,
    cwd: Path | None = None,
) -> Configuration:
    """Read the file, if one is named, and merge everything.

    :param given: the options that were given on the command line, by their long names; see :data:`OPTIONS`.
    :param modules: the values of ``--modules`` and the positional arguments; if there are any, they replace the
        file's.
    :param sets: the values of ``--set``, each ``NAME.KEY=VALUE``.
    :param config: the path of the file.
    :param cwd: the directory that relative paths of the command line start from; the working directory.
    :raises ConfigError: for anything that is not as it should be.
    """
    cwd = cwd or Path.cwd()
    values: dict[str, Any] = {}
    in_file: tuple[str, ...] = ()
    module_settings: dict[str, dict[str, Setting]] = {}
    if config is not None:
        file = TomlFile(config, cwd)
        values, in_file, module_settings = _read(file)
    spare = frozenset(module_settings) if modules else frozenset()
    for name, text in given.items():
        values |= _fields(name, OPTIONS[name].from_text(text), f"--{name}")
    for text in sets:
        name, key, setting = _set(text, cwd)
        module_settings.setdefault(name, {})[key] = setting
        spare -= {name}
    on_line = tuple(_spec(spec, cwd, "--modules") for spec in modules)
    return Configuration(Settings(**values), on_line or in_file, module_settings, spare)


def _read(file: TomlFile) -> tuple[dict[str, Any], tuple[str, ...], dict[str, dict[str, Setting]]]:
    """Check everything in the file, even what the command line overrides."""
    values: dict[str, Any] = {}
    modules: tuple[str, ...] = ()
    module_settings: dict[str, dict[str, Setting]] = {}
    for key, value in file.values.items():
        if key in OPTIONS:
            values |= _fields(key, value, f"{file.place(key)}: {key}")
        elif key == "modules":
            modules = _modules(value, file)
        elif key == "module":
            module_settings = _module_settings(value, file)
        else:
            valid = [*OPTIONS, "modules", "module"]
            raise ConfigError(
                f'{file.place(key)}: unknown key "{key}"; valid are {", ".join(valid)}{suggestion(key, valid)}'
            )
    return values, modules, module_settings


def _fields(name: str, value: object, origin: str) -> dict[str, Any]:
    try:
        return OPTIONS[name].fields(value)
    except ValueError as error:
        raise ConfigError(f"{origin}: {error}") from None


def _modules(value: object, file: TomlFile) -> tuple[str, ...]:
    origin = f"{file.place('modules')}: modules"
    if not isinstance(value, list) or not all(isinstance(spec, str) for spec in value):
        hint = "; settings of a module are in [module.NAME]" if isinstance(value, dict) else ""
        raise ConfigError(f'{origin}: is not a list of text, such as ["printer", "./modules"]{hint}')
    return tuple(_spec(spec, file.directory, origin) for spec in value)


def _spec(spec: str, base: Path, origin: str) -> str:
    if not spec or "\0" in spec:
        raise ConfigError(f"{origin}: {spec!r} is neither a path nor the name of a module")
    return spec if is_bare_name(spec, base) else str(base / spec)


def _module_settings(value: object, file: TomlFile) -> dict[str, dict[str, Setting]]:
    if not isinstance(value, dict):
        raise ConfigError(f"{file.place('module')}: module: is not a table; settings of a module are in [module.NAME]")
    settings: dict[str, dict[str, Setting]] = {}
    for name, table in value.items():
        if not isinstance(table, dict):
            raise ConfigError(f"{file.place('module', name)}: module.{name}: is not a table of settings")
        settings[name] = {
            key: Setting(item, f"{file.place('module', name, key)}: [module.{name}] {key}", file.directory)
            for key, item in table.items()
        }
    return settings


def _set(text: str, cwd: Path) -> tuple[str, str, Setting]:
    target, equals, value = text.partition("=")
    # The name of a module has a dot where one file has several.
    name, _, key = target.rpartition(".")
    if not (equals and name and key):
        raise ConfigError(f"--set: {text!r} is not NAME.KEY=VALUE")
    return name, key, Setting(value, f"--set {target}", cwd, typed=False)


def _same(name: str) -> Callable[[Any], dict[str, Any]]:
    """An option whose value is a field's."""

    def fields(value: Any) -> dict[str, Any]:
        _check(name, value)
        return {name: value}

    return fields


def _milliseconds(name: str) -> Callable[[Any], dict[str, Any]]:
    """An option in milliseconds for a field in seconds."""

    def fields(value: Any) -> dict[str, Any]:
        _check(name, value, milliseconds=True)
        return {name: value / 1000}

    return fields


def _gc(value: Any) -> dict[str, Any]:
    match = re.fullmatch(r"([0-9]{1,18})/([0-9]{1,18})", value) if isinstance(value, str) else None
    if not match:
        raise ValueError(f"{value!r} is not INTERVAL/AGE in milliseconds, such as 60000/3600000")
    interval, age = int(match[1]), int(match[2])
    _check("gc_interval", interval, milliseconds=True)
    _check("gc_age", age, milliseconds=True)
    if age < interval:
        raise ValueError(f"{value}: AGE is less than INTERVAL, so that senders would be forgotten later than it says")
    return {"gc_interval": interval / 1000, "gc_age": age / 1000}


def _check(name: str, value: object, *, milliseconds: bool = False) -> None:
    reason = problem(name, value, milliseconds=milliseconds)
    if reason:
        raise ValueError(reason)


def _number(text: str) -> Any:
    """Read a number; anything else stays text."""
    for pattern, kind in ((r"[+-]?[0-9]{1,18}", int), (r"[+-]?[0-9]{1,18}\.[0-9]{1,18}", float)):
        if re.fullmatch(pattern, text):
            return kind(text)
    return text


OPTIONS: Final[dict[str, _Option]] = {
    "port": _Option(_same("port"), _number),
    "address": _Option(_same("address"), str),
    "listeners": _Option(_same("listeners"), _number),
    "workers": _Option(_same("workers"), _number),
    "batch": _Option(_same("batch"), _number),
    "gc": _Option(_gc, str),
    "rcvbuf": _Option(_same("rcvbuf"), _number),
    "queue": _Option(_same("queue"), _number),
    "max-sources": _Option(_same("max_sources"), _number),
    "reorder": _Option(_milliseconds("reorder"), _number),
    "pause": _Option(_milliseconds("pause"), _number),
}
"""The options that have one value, by their long names, which are also the keys of the file."""
