"""``netconsd modules``: which output modules there are, their settings, and what each lacks. Nothing is started."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType

from netconsd.daemon.config import configure
from netconsd.daemon.stdout import put
from netconsd.outputs.loader import SHIPPED, files_of
from netconsd.outputs.modulefile import FileError, FoundModule, forget, import_file, make, outputs_in
from netconsd.outputs.native import NativeModule, NoHandler
from netconsd.outputs.parameters import AuthorError, Parameter, bind, parameters
from netconsd.outputs.setting_types import ModuleSetting, show
from netconsd.settings import ConfigError

__all__ = ["main"]

_Settings = Mapping[str, Mapping[str, ModuleSetting]]


def main(arguments: Sequence[str] | None = None, prog: str = "netconsd modules") -> int:
    """Print the modules that come with netconsd, and those of the paths and of the file.

    :returns: the exit status: 1 if one of them cannot be loaded (lacking a setting is no fault), else 0.
    """
    parser = argparse.ArgumentParser(
        prog=prog,
        description="List output modules with their settings, and what each of them lacks. Files are imported, but no "
        "module is started. Without a MODULE, those that come with netconsd are listed.",
    )
    parser.add_argument("modules", metavar="MODULE", nargs="*", help="a file, a directory, or a bare name")
    parser.add_argument(
        "--config", metavar="FILE", help="list the modules of this configuration file, with its settings"
    )
    parser.add_argument(
        "--set",
        metavar="NAME.KEY=VALUE",
        action="append",
        default=[],
        help="a setting, as for the daemon; may be given several times",
    )
    given = parser.parse_args(arguments)
    try:
        configuration = configure({}, modules=given.modules, sets=given.set, config=given.config)
    except ConfigError as error:
        print(f"{prog}: {error}", file=sys.stderr)
        return 1
    entries = []
    for spec in configuration.modules or (str(SHIPPED),):
        try:
            for path, asked_for in files_of(spec):
                entries += _in_file(path, asked_for, configuration.module_settings)
        except FileError as error:
            entries.append(_Entry(False, [str(error)]))
    put("\n\n".join("\n".join(entry.lines) for entry in entries), prog)
    return 0 if all(entry.good for entry in entries) else 1


class _Entry:
    """What is said of one module."""

    def __init__(self, good: bool, lines: list[str]) -> None:
        self.good = good
        self.lines = lines


def _in_file(path: Path, asked_for: bool, settings: _Settings) -> list[_Entry]:
    title = f"{path.stem}  {path}"
    if path.suffix == ".so":
        return [_of_library(title, path, asked_for)]
    try:
        imported = import_file(path)
    except FileError as error:
        return [_Entry(False, [title, f"    cannot be loaded: {error}"])]
    try:
        outputs = outputs_in(imported, path)
        if not outputs:
            return [_Entry(not asked_for, [title, "    no output module in it"])]
        # What a file with one module is about stands at its top; the class below it may go into details.
        summary = _summary(imported) if len(outputs) == 1 else ""
        return [_of_output(output, summary, settings.get(output.name, {})) for output in outputs]
    except FileError as error:
        return [_Entry(False, [title, f"    cannot be loaded: {error}"])]
    finally:
        forget(imported)


def _of_library(title: str, path: Path, asked_for: bool) -> _Entry:
    try:
        NativeModule(path)
    except NoHandler:
        return _Entry(not asked_for, [title, "    no output module in it"])
    except FileError as error:
        return _Entry(False, [title, f"    {str(error).removeprefix(f'{path}: ')}"])
    return _Entry(True, [title, "    A compiled module; it has no settings."])


def _summary(source: type | ModuleType) -> str:
    return (source.__doc__ or "").strip().partition("\n")[0]


def _of_output(output: FoundModule, summary: str, given: Mapping[str, ModuleSetting]) -> _Entry:
    lines = [f"{output.name}  {output.path}"]
    if summary := summary or _summary(output.source):
        lines.append(f"    {summary}")
    try:
        having = parameters(output.source) if isinstance(output.source, type) else []
        lines += _settings(having, given)
        lacking = [parameter.name for parameter in having if parameter.required and parameter.name not in given]
        arguments, wrong = bind(having, given, output.name)
        if not wrong:
            make(output, arguments)
    except (AuthorError, FileError) as error:
        return _Entry(False, [*lines, f"    cannot be loaded: {error}"])
    if lacking:
        lines.append(f"    lacks: {', '.join(lacking)}")
        wrong = wrong[: -len(lacking)]  # which says the same, at length
    return _Entry(not wrong, lines + [f"    wrong: {text}" for text in wrong])


def _settings(having: Sequence[Parameter], given: Mapping[str, ModuleSetting]) -> list[str]:
    rows = []
    for parameter in having:
        if parameter.name in given:
            left = f"{parameter.name} = {show(given[parameter.name].value)}"
            right = f"{parameter.kind}; given by {given[parameter.name].origin}"
        elif parameter.required:
            left, right = parameter.name, f"{parameter.kind}; required"
        elif parameter.default is None:
            left, right = parameter.name, f"{parameter.kind}; optional"
        else:
            left, right = f"{parameter.name} = {show(parameter.default)}", parameter.kind
        rows.append((left, right))
    width = max((len(left) for left, _ in rows), default=0)
    return [f"    {left:{width}}  {right}" for left, right in rows]
