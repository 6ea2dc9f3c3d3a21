"""The configuration: the command line, the configuration file and the defaults, in this order of precedence.

Each error text begins with the place to change: ``--port: ...`` or ``netconsd.toml:3: port: ...``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from netconsd.daemon.tomlfile import TomlFile
from netconsd.outputs.errors import joined
from netconsd.outputs.loader import SHIPPED, is_bare_name
from netconsd.outputs.parameters import suggestion
from netconsd.outputs.setting_types import ModuleSetting, show
from netconsd.settings import OPTIONS, ConfigError, Option, Settings, problem


class SetOption(NamedTuple):
    """The value of an option that does not have its default."""

    value: object
    """Text from the command line, or a value of TOML."""
    origin: str
    """``--port`` or ``netconsd.toml:3``."""


@dataclass(frozen=True)
class Configuration:
    """Everything that a daemon is started with; paths are absolute, so that the working directory may change."""

    settings: Settings
    modules: tuple[str, ...] = ()
    """The modules to load: absolute paths, and bare names of shipped modules."""
    module_settings: dict[str, dict[str, ModuleSetting]] = field(default_factory=dict)
    spare: frozenset[str] = frozenset()
    """Names in ``module_settings`` that need no module: the file has settings for them, but the command line names
    other modules to load."""
    set_options: dict[str, SetOption] = field(default_factory=dict, compare=False)
    """The options that do not have their defaults, by their long names."""

    def shown(self, option: str) -> str:
        """Return the value of an option as the user may have written it, or its default."""
        if option not in self.set_options:
            return OPTIONS[option].default
        value = self.set_options[option].value
        return value if isinstance(value, str) else show(value)

    def located(self, text: str) -> str:
        """Name the place of the value instead of the setting at the beginning of a text.

        ``port: ...`` becomes ``netconsd.toml:3: port: ...``, and ``--port: ...`` if the file does not have it. A
        setting of a module is ``logger.directory: ...``.
        """
        name, colon, rest = text.partition(":")
        module, _, key = name.rpartition(".")
        if key in self.module_settings.get(module, {}):
            return f"{self.module_settings[module][key].origin}{colon}{rest}"
        option = name.replace("_", "-")
        if option not in OPTIONS:
            return text
        origin = self.set_options[option].origin if option in self.set_options else f"--{option}"
        return f"{origin}{colon}{rest}" if origin.startswith("--") else f"{origin}: {option}{colon}{rest}"


def configure(
    options: Mapping[str, str],
    *,
    modules: Sequence[str] = (),
    sets: Sequence[str] = (),
    config: str | None = None,
    selftest: bool = False,
    cwd: Path | None = None,
    errors: list[str] | None = None,
) -> Configuration:
    """Read the file, if one is named, and merge it with the command line and the defaults.

    :param options: the options on the command line, by their long names; see :data:`netconsd.settings.OPTIONS`.
    :param modules: the values of ``--modules`` and the positional arguments; if there are any, they replace the
        file's.
    :param sets: the values of ``--set``, each ``NAME.KEY=VALUE``.
    :param config: the path of the file.
    :param selftest: add the module ``selftest``, and let its failure end the daemon.
    :param cwd: the base of relative paths on the command line; the working directory by default.
    :param errors: receives a text for each error; the wrong values are left out of the result.
    :raises ConfigError: for errors, without ``errors``; its text has all of them.
    """
    cwd = cwd or working_directory()
    merged = _Merged()
    if config is not None:
        with merged.collecting():
            _read(TomlFile(config, cwd), merged)
    spare = frozenset(merged.module_settings) if modules else frozenset()
    for name, text in options.items():
        value = _from_text(OPTIONS[name], text)
        merged.option(name, _absolute(name, value, cwd), SetOption(text, f"--{name}"), f"--{name}")
    for text in sets:
        with merged.collecting():
            name, key, setting = _set(text, cwd)
            merged.module_settings.setdefault(name, {})[key] = setting
            spare -= {name}
    modules_to_load = merged.specs(modules, cwd, "--modules") or merged.modules
    if selftest:
        modules_to_load = (*modules_to_load, str(SHIPPED / "selftest.py"))
        merged.module_settings.setdefault("selftest", {})["on_failure"] = ModuleSetting("exit", "--selftest", cwd)
        spare -= {"selftest"}
    settings = Settings()
    with merged.collecting():
        settings = Settings(**merged.values)
    if errors is not None:
        errors += merged.errors
    elif merged.errors:
        raise ConfigError(joined(merged.errors, "errors in the options"))
    return Configuration(settings, modules_to_load, merged.module_settings, spare, merged.set_options)


def working_directory() -> Path:
    """Return the working directory.

    :raises ConfigError: if it was deleted.
    """
    try:
        return Path.cwd()
    except OSError as error:
        raise ConfigError(f"the working directory cannot be used ({error.strerror}); cd to one that exists") from error


class _Merged:
    """The values read so far, and the errors of those that were refused."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.set_options: dict[str, SetOption] = {}
        self.modules: tuple[str, ...] = ()
        self.module_settings: dict[str, dict[str, ModuleSetting]] = {}
        self.errors: list[str] = []

    @contextmanager
    def collecting(self) -> Iterator[None]:
        """Keep the text of a ConfigError, and continue after the block."""
        try:
            yield
        except ConfigError as error:
            self.errors.append(str(error))

    def option(self, name: str, value: object, origin: SetOption, place: str) -> None:
        with self.collecting():
            try:
                self.values |= _fields(OPTIONS[name], value)
            except ValueError as error:
                raise ConfigError(f"{place}: {error}") from None
            self.set_options[name] = origin

    def specs(self, specs: Sequence[str], base: Path, place: str) -> tuple[str, ...]:
        valid = []
        for spec in specs:
            with self.collecting():
                if not spec or "\0" in spec:
                    raise ConfigError(f"{place}: {spec!r} is neither a path nor the name of a module")
                valid.append(spec if is_bare_name(spec, base) else str(base / spec))
        return tuple(valid)


def _read(file: TomlFile, merged: _Merged) -> None:
    """Check everything in the file, even values that the command line overrides."""
    spellings: dict[str, str] = {}
    for key, value in file.values.items():
        place = f"{file.place(key)}: {key}"
        # As the fields of Settings, and as most keys of TOML files, are written.
        name = key.replace("_", "-")
        with merged.collecting():
            if name in OPTIONS:
                if name in spellings:
                    raise ConfigError(f"{place}: is the same as {spellings[name]}; remove one of them")
                spellings[name] = f"{key} in line {file.line(key)}"
                merged.option(name, _absolute(name, value, file.directory), SetOption(value, file.place(key)), place)
            elif key == "modules":
                merged.modules = merged.specs(_modules(value, place), file.directory, place)
            elif key == "module":
                _module_settings(value, file, merged)
            elif isinstance(value, dict):
                raise ConfigError(f"{file.place(key)}: [{key}]: settings of a module are in [module.{key}]")
            else:
                valid = [*OPTIONS, "modules", "module"]
                hint = suggestion(key, valid) or "; the keys are modules, module and the options of netconsd run --help"
                raise ConfigError(f'{file.place(key)}: unknown key "{key}"{hint}')


def _modules(value: object, place: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(spec, str) for spec in value):
        if isinstance(value, dict):
            name = next(iter(value), "NAME")
            raise ConfigError(
                f'{place}: is a list, such as ["printer", "./modules"]; settings of a module are in [module.{name}]'
            )
        raise ConfigError(f'{place}: is not a list of text, such as ["printer", "./modules"]')
    return value


def _module_settings(value: object, file: TomlFile, merged: _Merged) -> None:
    if not isinstance(value, dict):
        raise ConfigError(f"{file.place('module')}: module: is not a table; settings of a module are in [module.NAME]")
    for name, table in value.items():
        with merged.collecting():
            if not isinstance(table, dict):
                raise ConfigError(f"{file.place('module', name)}: module.{name}: is not a table of settings")
            # A file can have settings of a module without loading it.
            settings = merged.module_settings.setdefault(name, {})
            for key, item in table.items():
                origin = f"{file.place('module', name, key)}: [module.{name}] {key}"
                known = key.replace("_", "-") in OPTIONS or key == "modules"
                hint = f'; the daemon has "{key}": move it above the first [table] of the file' if known else ""
                setting = ModuleSetting(item, origin, file.directory, hint=hint)
                with merged.collecting():
                    if _spelled(key) in settings:
                        raise ConfigError(f"{origin}: is given twice, with - and with _; remove one of them")
                    settings[_spelled(key)] = setting


def _set(text: str, cwd: Path) -> tuple[str, str, ModuleSetting]:
    target, equals, value = text.partition("=")
    # The name of a module has a dot where one file has several.
    name, _, key = target.rpartition(".")
    if not (equals and name and key):
        raise ConfigError(f"--set: {text!r} is not NAME.KEY=VALUE")
    return name, _spelled(key), ModuleSetting(value, f"--set {target}", cwd, typed=False)


def _spelled(key: str) -> str:
    """The name of a module's setting, which is a name in Python, for a key that may have hyphens."""
    return key.replace("-", "_")


def _from_text(option: Option, text: str) -> object:
    """Return the value that TOML would have; text that has none stays as it is, for :func:`_fields` to refuse."""
    if not option.value:
        return True
    if option.name == "allow":
        return text.split(",")
    if option.bounds is None or len(option.fields) > 1:
        return text
    for pattern, kind in ((r"[+-]?[0-9]{1,18}", int), (r"[+-]?[0-9]{1,18}\.[0-9]{1,18}", float)):
        if re.fullmatch(pattern, text):
            return kind(text)
    return text


def _absolute(name: str, value: object, base: Path) -> object:
    """Return an absolute path for a path, because the daemon changes its working directory; other values unchanged."""
    return str(base / value) if name == "hosts-file" and isinstance(value, str) and value else value


def _fields(option: Option, value: Any) -> dict[str, Any]:
    """Return the fields of :class:`netconsd.settings.Settings` for a value as TOML has it.

    :raises ValueError: with the reason, if the value is wrong.
    """
    if option.name == "gc":
        return _gc(value)
    (name,) = option.fields
    if name == "allow":
        networks = [value] if isinstance(value, str) else value
        if networks == []:
            raise ValueError("the list is empty: name the networks that may send, or omit it to accept all senders")
        value = tuple(networks) if isinstance(networks, list) else networks
    elif name == "metrics" and isinstance(value, int) and not isinstance(value, bool):
        # In the file, a port alone is a number.
        value = str(value)
    _check(name, value)
    return {name: value / 1000 if option.unit else value}


def _gc(value: object) -> dict[str, Any]:
    match = re.fullmatch(r"([0-9]{1,18})/([0-9]{1,18})", value) if isinstance(value, str) else None
    if not match:
        raise ValueError(f"{value!r} is not INTERVAL/AGE in milliseconds, such as 60000/3600000")
    interval, age = int(match[1]), int(match[2])
    _check("gc_interval", interval)
    _check("gc_age", age)
    if age < interval:
        raise ValueError(f"{value}: AGE is less than INTERVAL, so senders would be forgotten later than AGE says")
    return {"gc_interval": interval / 1000, "gc_age": age / 1000}


def _check(name: str, value: object) -> None:
    reason = problem(name, value, milliseconds=True)
    if reason:
        raise ValueError(reason)
