"""``netconsd modules``: lists output modules, their settings, and the settings that they lack; starts nothing."""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Final, NamedTuple

from netconsd.daemon.config import configure
from netconsd.daemon.stdout import put
from netconsd.outputs.loader import SHIPPED, files_of
from netconsd.outputs.modulefile import FileError, FoundModule, forget, import_file, make, outputs_in
from netconsd.outputs.native import NativeModule, NoHandler
from netconsd.outputs.parameters import AuthorError, Parameter, bind, parameters
from netconsd.outputs.setting_types import ModuleSetting, show
from netconsd.settings import ConfigError

_OfModule = Mapping[str, ModuleSetting]
_Settings = Mapping[str, _OfModule]
# Readable in the smallest usual terminal.
WIDTH: Final = 80


def main(arguments: Sequence[str] | None = None, prog: str = "netconsd modules") -> int:
    """Print the named modules and those of the file; without any, the shipped ones.

    :returns: the exit status: 1 if a module cannot be loaded or has a wrong setting, otherwise 0. A missing setting is
        no error.
    """
    parser = argparse.ArgumentParser(
        prog=prog,
        description="List output modules with their settings, and the settings that they lack. Files are imported, but "
        "no module is started. Without a MODULE, the shipped modules are listed.",
    )
    add = parser.add_argument
    add("modules", metavar="MODULE", nargs="*", help="a file, a directory, or a bare name")
    add("--config", metavar="FILE", help="list the modules of this configuration file, with its settings")
    text = "a setting, as for the daemon; may be given several times"
    add("--set", metavar="NAME.KEY=VALUE", action="append", default=[], help=text)
    options = parser.parse_args(arguments)
    try:
        configuration = configure({}, modules=options.modules, sets=options.set, config=options.config)
    except ConfigError as error:
        print(f"{prog}: {error}", file=sys.stderr)
        return 1
    entries = []
    for spec in configuration.modules or (str(SHIPPED),):
        try:
            for path, named in files_of(spec):
                entries += _in_file(path, named, configuration.module_settings)
        except FileError as error:
            entries.append(_Entry(False, [str(error)]))
    put("\n\n".join("\n".join(entry.lines) for entry in entries), prog)
    return 0 if all(entry.valid for entry in entries) else 1


class _Entry(NamedTuple):
    """The lines about one module."""

    valid: bool
    lines: list[str]


def _in_file(path: Path, named: bool, settings: _Settings) -> list[_Entry]:
    title = f"{path.stem}  {path}"
    if path.suffix == ".so":
        return [_of_library(title, path, named)]
    try:
        imported = import_file(path)
    except FileError as error:
        return [_Entry(False, [title, f"    cannot be loaded: {error}"])]
    try:
        outputs = outputs_in(imported, path)
        if not outputs:
            return [_Entry(not named, [title, "    no output module in it"])]
        # The docstring of a file with one module describes the module; that of the class may be about details.
        summary = _summary(imported) if len(outputs) == 1 else ""
        return [_of_output(output, summary, settings.get(output.name, {})) for output in outputs]
    except FileError as error:
        return [_Entry(False, [title, f"    cannot be loaded: {error}"])]
    finally:
        forget(imported)


def _of_library(title: str, path: Path, named: bool) -> _Entry:
    try:
        NativeModule(path)
    except NoHandler:
        return _Entry(not named, [title, "    no output module in it"])
    except FileError as error:
        return _Entry(False, [title, f"    {str(error).removeprefix(f'{path}: ')}"])
    return _Entry(True, [title, "    A compiled module; it has no settings."])


def _summary(source: type | ModuleType) -> str:
    return (source.__doc__ or "").strip().partition("\n")[0]


def _of_output(output: FoundModule, summary: str, settings: _OfModule) -> _Entry:
    lines = [f"{output.name}  {output.path}"]
    if summary := summary or _summary(output.source):
        lines += _wrapped(summary, 4)
    try:
        declared = parameters(output.source) if isinstance(output.source, type) else []
        lines += _settings(declared, settings)
        lacking = [parameter.name for parameter in declared if parameter.required and parameter.name not in settings]
        arguments, errors = bind(declared, settings, output.name)
        if not errors:
            make(output, arguments)
    except (AuthorError, FileError) as error:
        return _Entry(False, [*lines, f"    cannot be loaded: {error}"])
    if lacking:
        lines.append(f"    lacks: {', '.join(lacking)}")
        errors = errors[: -len(lacking)]  # the last ones are the lacking settings
    return _Entry(not errors, lines + [f"    error: {text}" for text in errors])


def _settings(declared: Sequence[Parameter], settings: _OfModule) -> list[str]:
    """Return the lines about the settings: each with its type and value, then its description."""
    lines = []
    for parameter in declared:
        if parameter.name in settings:
            setting = settings[parameter.name]
            value = f"{parameter.name} = {show(setting.value)}"
            kind = f"{parameter.kind}; given by {setting.origin}"
        elif parameter.required:
            value, kind = parameter.name, f"{parameter.kind}; required"
        elif parameter.default is None:
            value, kind = parameter.name, f"{parameter.kind}; optional"
        else:
            value, kind = f"{parameter.name} = {show(parameter.default)}", parameter.kind
        lines += _wrapped(f"{value}  ({kind})", 4, hanging=4)
        if parameter.description:
            lines += _wrapped(parameter.description, 8)
    return lines


def _wrapped(text: str, indent: int, hanging: int = 0) -> list[str]:
    """Return the text in lines of :data:`WIDTH` columns at most, unless a word is longer.

    :param hanging: further columns before the second and later lines.
    """
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=" " * indent,
        subsequent_indent=" " * (indent + hanging),
        break_long_words=False,
        break_on_hyphens=False,
    )
