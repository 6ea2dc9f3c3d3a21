"""Put together what the command line, the configuration file and the defaults say, in this order of precedence.

Every text of an error begins with the place to mend: ``--port: ...`` or ``netconsd.toml:3: port: ...``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

from netconsd.daemon.tomlfile import TomlFile
from netconsd.outputs.loader import SHIPPED, is_bare_name
from netconsd.outputs.parameters import suggestion
from netconsd.outputs.setting_types import ModuleSetting
from netconsd.settings import ConfigError, Settings, problem

__all__ = ["OPTIONS", "Configuration", "Given", "configure"]


class Given(NamedTuple):
    """A value of an option that somebody gave."""

    value: object
    """As it was given: text, or what TOML made of it."""
    origin: str
    """Where: ``--port`` or ``netconsd.toml:3``."""


@dataclass(frozen=True)
class Configuration:
    """All that a daemon is started with; paths are absolute, so that the working directory may change."""

    settings: Settings
    modules: tuple[str, ...] = ()
    """What to load: absolute paths, and bare names of shipped modules."""
    module_settings: dict[str, dict[str, ModuleSetting]] = field(default_factory=dict)
    spare: frozenset[str] = frozenset()
    """Names in ``module_settings`` that need not be found: the file has settings for them, but the modules to load
    are those of the command line."""
    given: dict[str, Given] = field(default_factory=dict, compare=False)
    """The options that do not have their defaults, by their long names."""


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
    selftest: bool = False,
    cwd: Path | None = None,
    wrong: list[str] | None = None,
) -> Configuration:
    """Read the file, if one is named, and merge everything.

    :param given: the options that were given on the command line, by their long names; see :data:`OPTIONS`.
    :param modules: the values of ``--modules`` and the positional arguments; if there are any, they replace the
        file's.
    :param sets: the values of ``--set``, each ``NAME.KEY=VALUE``.
    :param config: the path of the file.
    :param selftest: add the module ``selftest``, and let its failure end the daemon.
    :param cwd: the directory that relative paths of the command line start from; the working directory.
    :param wrong: takes a text for the user about each thing that is not as it should be; all of them are left out then.
    :raises ConfigError: without ``wrong``, for anything that is not as it should be; the text has all of it.
    """
    cwd = cwd or Path.cwd()
    found = _Found()
    if config is not None:
        with found.noting():
            _read(TomlFile(config, cwd), found)
    spare = frozenset(found.module_settings) if modules else frozenset()
    for name, text in given.items():
        found.option(name, OPTIONS[name].from_text(text), Given(text, f"--{name}"), f"--{name}")
    for text in sets:
        with found.noting():
            name, key, setting = _set(text, cwd)
            found.module_settings.setdefault(name, {})[key] = setting
            spare -= {name}
    on_line = found.specs(modules, cwd, "--modules")
    modules_to_load = on_line or found.modules
    if selftest:
        modules_to_load = (*modules_to_load, str(SHIPPED / "selftest.py"))
        found.module_settings.setdefault("selftest", {})["on_failure"] = ModuleSetting("exit", "--selftest", cwd)
        spare -= {"selftest"}
    settings = Settings()
    with found.noting():
        settings = Settings(**found.values)
    if wrong is not None:
        wrong += found.wrong
    elif found.wrong:
        raise ConfigError(_in_one(found.wrong))
    return Configuration(settings, modules_to_load, found.module_settings, spare, found.given)


class _Found:
    """What has been read so far, and what was wrong with the rest."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.given: dict[str, Given] = {}
        self.modules: tuple[str, ...] = ()
        self.module_settings: dict[str, dict[str, ModuleSetting]] = {}
        self.wrong: list[str] = []

    @contextmanager
    def noting(self) -> Iterator[None]:
        """Note what is wrong, and go on."""
        try:
            yield
        except ConfigError as error:
            self.wrong.append(str(error))

    def option(self, name: str, value: object, given: Given, place: str) -> None:
        with self.noting():
            self.values |= _fields(name, value, place)
            self.given[name] = given

    def specs(self, specs: Sequence[str], base: Path, place: str) -> tuple[str, ...]:
        good = []
        for spec in specs:
            with self.noting():
                good.append(_spec(spec, base, place))
        return tuple(good)


def _in_one(wrong: list[str]) -> str:
    if len(wrong) == 1:
        return wrong[0]
    return f"{len(wrong)} things are wrong with the options:" + "".join(f"\n  - {text}" for text in wrong)


def _read(file: TomlFile, found: _Found) -> None:
    """Check everything in the file, even what the command line overrides."""
    for key, value in file.values.items():
        place = f"{file.place(key)}: {key}"
        with found.noting():
            if key in OPTIONS:
                found.option(key, value, Given(value, file.place(key)), place)
            elif key == "modules":
                found.modules = found.specs(_modules(value, place), file.directory, place)
            elif key == "module":
                _module_settings(value, file, found)
            else:
                valid = [*OPTIONS, "modules", "module"]
                raise ConfigError(
                    f'{file.place(key)}: unknown key "{key}"; valid are {", ".join(valid)}{suggestion(key, valid)}'
                )


def _fields(name: str, value: object, origin: str) -> dict[str, Any]:
    try:
        return OPTIONS[name].fields(value)
    except ValueError as error:
        raise ConfigError(f"{origin}: {error}") from None


def _modules(value: object, place: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(spec, str) for spec in value):
        hint = "; settings of a module are in [module.NAME]" if isinstance(value, dict) else ""
        raise ConfigError(f'{place}: is not a list of text, such as ["printer", "./modules"]{hint}')
    return value


def _spec(spec: str, base: Path, origin: str) -> str:
    if not spec or "\0" in spec:
        raise ConfigError(f"{origin}: {spec!r} is neither a path nor the name of a module")
    return spec if is_bare_name(spec, base) else str(base / spec)


def _module_settings(value: object, file: TomlFile, found: _Found) -> None:
    if not isinstance(value, dict):
        raise ConfigError(f"{file.place('module')}: module: is not a table; settings of a module are in [module.NAME]")
    for name, table in value.items():
        with found.noting():
            if not isinstance(table, dict):
                raise ConfigError(f"{file.place('module', name)}: module.{name}: is not a table of settings")
            found.module_settings[name] = {
                key: ModuleSetting(item, f"{file.place('module', name, key)}: [module.{name}] {key}", file.directory)
                for key, item in table.items()
            }


def _set(text: str, cwd: Path) -> tuple[str, str, ModuleSetting]:
    target, equals, value = text.partition("=")
    # The name of a module has a dot where one file has several.
    name, _, key = target.rpartition(".")
    if not (equals and name and key):
        raise ConfigError(f"--set: {text!r} is not NAME.KEY=VALUE")
    return name, key, ModuleSetting(value, f"--set {target}", cwd, typed=False)


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


def _allow(value: Any) -> dict[str, Any]:
    networks = [value] if isinstance(value, str) else value
    value = tuple(networks) if isinstance(networks, list) else networks
    _check("allow", value)
    if not value:
        raise ValueError("the list is empty: name the networks that may send, or leave it out for all of them")
    return {"allow": value}


def _words(text: str) -> Any:
    """Read a list of words with commas between."""
    return text.split(",")


def _metrics(value: Any) -> dict[str, Any]:
    # In the file, a port alone is a number.
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    _check("metrics", text)
    return {"metrics": text}


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
    "allow": _Option(_allow, _words),
    "rate": _Option(_same("rate"), _number),
    "stop-timeout": _Option(_milliseconds("stop_timeout"), _number),
    "metrics": _Option(_metrics, str),
    "acks": _Option(_same("acks"), bool),
}
"""The options that have one value, by their long names, which are also the keys of the file."""
