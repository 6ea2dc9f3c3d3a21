"""The settings of an output module: the keyword-only parameters of its constructor, and their values."""

from __future__ import annotations

import inspect
import re
import sys
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final

from netconsd.outputs.setting_types import ModuleSetting, convert, describe, show

# Names in the text of an error, which shall be shorter than its terminal.
LISTED: Final = 8


class AuthorError(Exception):
    """A constructor that cannot be called with settings; ``str()`` is the text for the module's author."""


@dataclass(frozen=True)
class Parameter:
    """A setting of a module."""

    name: str
    annotation: Any
    kind: str
    """The type in a user's words."""
    default: object = inspect.Parameter.empty
    description: str = ""
    """The text of ``:param name:`` in the constructor's docstring, in one line; empty if there is none."""

    @property
    def required(self) -> bool:
        """True if the module cannot be created without a value for the setting."""
        return self.default is inspect.Parameter.empty

    def __str__(self) -> str:
        """The setting as in a list for the user: ``directory (path, required)``."""
        return f"{self.name} ({self.kind}, {'required' if self.required else f'default {show(self.default)}'})"


def parameters(cls: type) -> list[Parameter]:
    """Return the settings of a class, from the signature of its constructor and in its order.

    Positional parameters are not settings and need defaults, because no value is passed for them. A constructor with
    ``**settings`` hands them to that of its base class, whose settings follow.

    :raises AuthorError: if an annotation is missing or not supported, or a positional parameter has no default.
    """
    try:
        signature = inspect.signature(cls)
        hints = _hints(cls)
    except Exception as error:
        raise AuthorError(f"the annotations of its constructor cannot be resolved: {error}") from error
    settings: list[Parameter] = []
    descriptions = _descriptions(cls)
    for parameter in signature.parameters.values():
        name = parameter.name
        if parameter.kind is parameter.KEYWORD_ONLY:
            if name not in hints:
                raise AuthorError(f'the parameter "{name}" of its constructor has no annotation, such as "{name}: str"')
            try:
                kind = describe(hints[name])
            except TypeError as error:
                raise AuthorError(f'the parameter "{name}" of its constructor: {error}') from None
            settings.append(Parameter(name, hints[name], kind, parameter.default, descriptions.get(name, "")))
        elif parameter.default is parameter.empty and parameter.kind not in (
            parameter.VAR_POSITIONAL,
            parameter.VAR_KEYWORD,
        ):
            raise AuthorError(
                f'the parameter "{name}" of its constructor must be keyword-only to be a setting: '
                f'write "def __init__(self, *, {name}: ...)"'
            )
        elif parameter.kind is parameter.VAR_KEYWORD and (base := _base(cls)) is not None:
            known = {setting.name for setting in settings}
            settings += [setting for setting in parameters(base) if setting.name not in known]
    return settings


def _base(cls: type) -> type | None:
    """Return the class whose constructor is called by that of a class; None if only ``object`` has one."""
    owners = [base for base in cls.__mro__ if "__init__" in vars(base) and base is not object]
    return owners[1] if len(owners) > 1 else None


def bind(
    settings: list[Parameter], values: Mapping[str, ModuleSetting], module: str
) -> tuple[dict[str, Any], list[str]]:
    """Convert the user's values to the constructor's arguments.

    :param module: the module's name, for the texts.
    :returns: the arguments, and the errors as texts for the user; the arguments are complete only without errors.
    """
    arguments: dict[str, Any] = {}
    errors = []
    by_name = {parameter.name: parameter for parameter in settings}
    for name, setting in values.items():
        if name not in by_name:
            errors.append(
                f'{setting.origin}: module {module} has no setting "{name}"; {_listing(settings, name, setting.hint)}'
            )
            continue
        try:
            arguments[name] = convert(by_name[name].annotation, setting)
        except ValueError as error:
            errors.append(f"{setting.origin}: {error}")
    # TOML quotes a key that has a dot.
    key = show(module) if "." in module else module
    errors += [
        f'module {module} needs the setting "{parameter.name}" ({parameter.kind}): '
        f"--set {module}.{parameter.name}=... or [module.{key}] {parameter.name} = ..."
        for parameter in settings
        if parameter.required and parameter.name not in values
    ]
    return arguments, errors


def suggestion(name: str, known: typing.Iterable[str]) -> str:
    """``; did you mean "..."?`` with the known name most similar to ``name``; empty if none is similar."""
    close = get_close_matches(name, list(known), n=1)
    return f'; did you mean "{close[0]}"?' if close else ""


def some(names: Sequence[str]) -> str:
    """The names as a list for an error text; the number of those beyond :data:`LISTED`."""
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more


def _listing(settings: list[Parameter], name: str, hint: str) -> str:
    if not settings:
        return f"it has none{hint}"
    names = [parameter.name for parameter in settings]
    if hint:
        return hint.removeprefix("; ")
    similar = suggestion(name, names).removeprefix("; ")
    return f"{similar} It has {some(names)}" if similar else f"it has {some(names)}"


def _descriptions(cls: type) -> dict[str, str]:
    """Return the texts of the ``:param name:`` lines of the constructor, or of the class, without Sphinx's markup."""
    found: dict[str, str] = {}
    for documented in (cls, cls.__init__):  # type: ignore[misc]
        # One field ends at the next; a following paragraph is no part of it.
        fields = re.split(r"^ *:", inspect.getdoc(documented) or "", flags=re.MULTILINE)[1:]
        for text in fields:
            match = re.match(r"param (?:[\w.\[\], |]+ )?(\w+): *(.*?)(?:\n\s*\n|\Z)", text, re.DOTALL)
            if match:
                found[match[1]] = _plain(match[2])
    return found


def _plain(text: str) -> str:
    """Return a text of reStructuredText in one line, without the markup of literals and references."""
    text = re.sub(r":[\w:]+:`~?(?:[^`<]*<)?([^`>]*)>?`", r"\1", text)
    return " ".join(text.replace("``", "").replace("`", "").split())


def _hints(cls: type) -> dict[str, Any]:
    """The resolved annotations of a class's constructor.

    Generated constructors (those of attrs) have globals of their own, so names are also looked up in the file that
    defines the class.
    """
    owner = next(base for base in cls.__mro__ if "__init__" in vars(base))
    module = sys.modules.get(owner.__module__)
    return typing.get_type_hints(vars(owner)["__init__"], localns=dict(vars(module)) if module else None)
