"""The settings of an output module: the keyword-only parameters of its constructor, and the values given for them."""

from __future__ import annotations

import inspect
import sys
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from netconsd.outputs.setting_types import ModuleSetting, convert, describe, show

__all__ = ["AuthorError", "Parameter", "bind", "parameters", "suggestion"]


class AuthorError(Exception):
    """A constructor that cannot be called with settings; ``str()`` tells the module's author what to change."""


@dataclass(frozen=True)
class Parameter:
    """A setting that a module has."""

    name: str
    annotation: Any
    kind: str
    """Its type in a user's words."""
    default: object = inspect.Parameter.empty

    @property
    def required(self) -> bool:
        """Whether the module cannot be made without a value for it."""
        return self.default is inspect.Parameter.empty

    def __str__(self) -> str:
        """As in a list for the user: ``directory (path, required)``."""
        return f"{self.name} ({self.kind}, {'required' if self.required else f'default {show(self.default)}'})"


def parameters(cls: type) -> list[Parameter]:
    """Read the settings of a class from its constructor, in the order of their definition.

    Parameters that may also be given by position are no settings; they need defaults, as nobody gives them.

    :raises AuthorError: if a parameter has no annotation or one that is not supported, or if it needs a position.
    """
    try:
        signature = inspect.signature(cls)
        hints = _hints(cls)
    except Exception as error:
        raise AuthorError(f"the annotations of its constructor cannot be read: {error}") from error
    found = []
    for parameter in signature.parameters.values():
        name = parameter.name
        if parameter.kind is parameter.KEYWORD_ONLY:
            if name not in hints:
                raise AuthorError(f'the parameter "{name}" of its constructor has no annotation, as in "{name}: str"')
            try:
                kind = describe(hints[name])
            except TypeError as error:
                raise AuthorError(f'the parameter "{name}" of its constructor: {error}') from None
            found.append(Parameter(name, hints[name], kind, parameter.default))
        elif parameter.default is parameter.empty and parameter.kind not in (
            parameter.VAR_POSITIONAL,
            parameter.VAR_KEYWORD,
        ):
            raise AuthorError(
                f'the parameter "{name}" of its constructor must be keyword-only to be a setting: '
                f'write "def __init__(self, *, {name}: ...)"'
            )
    return found


def bind(having: list[Parameter], given: Mapping[str, ModuleSetting], module: str) -> tuple[dict[str, Any], list[str]]:
    """Make the constructor's arguments from what the user gave.

    :param module: the module's name, for the texts.
    :returns: the arguments, and what is wrong, each a text for the user; with anything wrong the arguments are of no
        use.
    """
    arguments: dict[str, Any] = {}
    wrong = []
    by_name = {parameter.name: parameter for parameter in having}
    for name, setting in given.items():
        if name not in by_name:
            wrong.append(f'{setting.origin}: module {module} has no setting "{name}"; {_listing(having, name)}')
            continue
        try:
            arguments[name] = convert(by_name[name].annotation, setting)
        except ValueError as error:
            wrong.append(f"{setting.origin}: {error}")
    wrong += [
        f'module {module} needs the setting "{parameter.name}" ({parameter.kind}): '
        f"--set {module}.{parameter.name}=... or [module.{_key(module)}] {parameter.name} = ..."
        for parameter in having
        if parameter.required and parameter.name not in given
    ]
    return arguments, wrong


def suggestion(name: str, known: typing.Iterable[str]) -> str:
    """Ask ``; did you mean "..."?`` if something known looks like the name, else say nothing."""
    close = get_close_matches(name, list(known), n=1)
    return f'; did you mean "{close[0]}"?' if close else ""


def _key(module: str) -> str:
    """Write a module's name as a key of TOML, where a dot would part it."""
    return show(module) if "." in module else module


def _listing(having: list[Parameter], name: str) -> str:
    if not having:
        return "it has none"
    hint = suggestion(name, [parameter.name for parameter in having])
    return "it has " + ", ".join(str(parameter) for parameter in having) + hint


def _hints(cls: type) -> dict[str, Any]:
    """Resolve the annotations of a class's constructor.

    Generated constructors (those of attrs) have globals of their own, so names are looked up in the file that defines
    the class, too.
    """
    owner = next(base for base in cls.__mro__ if "__init__" in vars(base))
    module = sys.modules.get(owner.__module__)
    return typing.get_type_hints(vars(owner)["__init__"], localns=dict(vars(module)) if module else None)
