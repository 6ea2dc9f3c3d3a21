"""The types that a setting of an output module may have, and the way from a configured value to such a type.

A type is the annotation of a constructor's parameter. Supported are ``str``, ``int``, ``float``, ``bool``,
``pathlib.Path``, ``Literal[...]`` of texts and whole numbers, ``list[X]``, ``tuple[X, ...]``, ``tuple[X, Y]``,
``dict[str, X]`` and ``X | None``, where X is one of these again.

A value comes from a TOML file, where it has a type already, or from the command line, where it is text. Text for a
``str``, a ``Path`` or a ``Literal`` is taken as it is; for all others it is read as a value of TOML would be.
"""

from __future__ import annotations

import json
import tomllib
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, Union, get_args, get_origin

__all__ = ["ModuleSetting", "convert", "describe", "show"]


@dataclass(frozen=True)
class ModuleSetting:
    """A value that a user gave for a setting of a module, before it is known what type it shall have."""

    value: object
    """What TOML made of it, or the text that was typed."""
    origin: str
    """Where it was given, for the texts of errors: ``--set logger.directory``."""
    base: Path
    """The absolute directory to which a relative path is relative."""
    typed: bool = True
    """False: the value is text from a command line, to be read according to the type."""


_WORDS: Final[dict[Any, str]] = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    Path: "path",
}
_BOOLS: Final = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


def describe(annotation: Any) -> str:
    """Say in a user's words what a value of the type is: ``list of whole number``.

    :raises TypeError: for a type that is not supported, with a text for the author of the module.
    """
    if annotation in _WORDS:
        return _WORDS[annotation]
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Literal and all(isinstance(choice, (str, int)) for choice in args):
        return "one of " + ", ".join(show(choice) for choice in args)
    if origin is list:
        return f"list of {describe(args[0])}"
    if origin is tuple and args:
        if args[-1] is Ellipsis:
            return f"list of {describe(args[0])}"
        return f"list of {len(args)}: " + ", ".join(describe(arg) for arg in args)
    if origin is dict and args[0] is str:
        return f"table of {describe(args[1])}"
    if (inner := _optional(annotation)) is not None:
        return describe(inner)
    name = annotation.__name__ if isinstance(annotation, type) and origin is None else annotation
    raise TypeError(
        f"the type {name} is not one that a setting can have "
        "(str, int, float, bool, pathlib.Path, Literal[...], list[...], tuple[...], dict[str, ...], "
        "or one of them | None)"
    )


def show(value: object) -> str:
    """Write a value as a user would in a TOML file; None, which TOML does not have, as ``none``."""
    if value is None:
        return "none"
    if isinstance(value, (str, Path)):
        return json.dumps(str(value), ensure_ascii=False)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(show(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {show(item)}" for key, item in value.items()) + "}"
    return str(value)


def convert(annotation: Any, setting: ModuleSetting) -> Any:
    """Make a value of a type that :func:`describe` knows; paths become absolute.

    :raises ValueError: if that is not possible, with a text that says why and does not name the setting.
    """
    value = setting.value
    if not setting.typed:
        value = _from_text(annotation, str(value))
    return _convert(annotation, value, setting.base)


def _optional(annotation: Any) -> Any:
    """The X of ``X | None``, or None if the type is no such union."""
    if get_origin(annotation) in (Union, types.UnionType):
        others = [arg for arg in get_args(annotation) if arg is not types.NoneType]
        if len(others) == 1:
            return others[0]
    return None


def _from_text(annotation: Any, text: str) -> object:
    inner = _optional(annotation)
    if inner is not None:
        return _from_text(inner, text)
    if annotation is str or annotation is Path:
        return text
    if get_origin(annotation) is Literal:
        # What is none of the choices stays text, to be refused as such.
        return next((choice for choice in get_args(annotation) if text in (str(choice), show(choice))), text)
    if annotation is bool and text.strip().lower() in _BOOLS:
        return _BOOLS[text.strip().lower()]
    try:
        parsed = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):  # also numbers of thousands of digits, and brackets without end
        parsed = {}
    if list(parsed) != ["value"]:
        example = {list: ', such as ["a", "b"]', tuple: ', such as ["a", "b"]', dict: ', such as {a = "b"}'}
        raise ValueError(
            f"{show(text)} is not {_article(describe(annotation))}{example.get(get_origin(annotation), '')}"
        )
    return parsed["value"]


def _convert(annotation: Any, value: object, base: Path) -> Any:
    inner = _optional(annotation)
    if inner is not None:
        return _convert(inner, value, base)
    origin, args = get_origin(annotation), get_args(annotation)
    made: Any = None
    if annotation is Path:
        made = _path(value, base)
    elif annotation is float:
        made = float(value) if _is(value, float) or _is(value, int) else None  # type: ignore[arg-type]
    elif annotation in _WORDS:
        made = value if _is(value, annotation) else None
    elif origin is Literal:
        made = next((choice for choice in args if choice == value and type(choice) is type(value)), None)
    elif origin in (list, tuple) and isinstance(value, list):
        of = args[:1] * len(value) if origin is list or args[-1] is Ellipsis else args
        if len(of) == len(value):
            items = enumerate(zip(of, value, strict=True), start=1)
            made = origin(_within(f"item {number}", _convert, *pair, base) for number, pair in items)
    elif origin is dict and isinstance(value, dict):
        made = {key: _within(key, _convert, args[1], item, base) for key, item in value.items()}
    if made is None:
        raise ValueError(f"{show(value)} is not {_article(describe(annotation))}")
    return made


def _is(value: object, kind: type) -> bool:
    # bool is a subclass of int, but `retries = true` is a mistake.
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


def _path(value: object, base: Path) -> Path | None:
    if not isinstance(value, str):
        return None
    if not value or "\0" in value:
        raise ValueError(f"{show(value)} cannot be a path")
    return base / value


def _article(words: str) -> str:
    return words if words.startswith(("text", "true", "one of")) else f"a {words}"


def _within(where: str, make: Callable[..., Any], *arguments: object) -> Any:
    """Make one item of a list or table; what is wrong with it is said with its place."""
    try:
        return make(*arguments)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
