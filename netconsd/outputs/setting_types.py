"""The types of output modules' settings, and the conversion of configured values to them.

A type is the annotation of a constructor's parameter. Supported are ``str``, ``int``, ``float``, ``bool``,
``pathlib.Path``, ``Literal[...]`` of texts and whole numbers, ``list[X]``, ``tuple[X, ...]``, ``tuple[X, Y]``,
``dict[str, X]`` and ``X | None``, where X is any supported type, and :class:`netconsd.units.Size` and
:class:`netconsd.units.Duration`.

A value from a TOML file has a type. A value from the command line is text: for a ``str``, a ``Path`` or a ``Literal``
the text is the value, for all other types it is parsed as a TOML value. A list of ``str`` or ``Literal`` may also be
written as ``a,b``. A ``Size`` and a ``Duration`` are text in both, ``64M`` or ``14d``; a ``Size`` can also be a whole
number.
"""

from __future__ import annotations

import json
import tomllib
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, Union, get_args, get_origin

from netconsd.units import DURATION_FORMS, SIZE_FORMS, Duration, Size


@dataclass(frozen=True)
class ModuleSetting:
    """A user's value for a setting of a module, before its conversion to the setting's type."""

    value: object
    """The parsed TOML value, or the text from the command line."""
    origin: str
    """The place of the value, for error texts: ``--set logger.directory``."""
    base: Path
    """The absolute directory that relative paths are relative to."""
    typed: bool = True
    """False if the value is text from the command line."""
    hint: str = ""
    """Added to the text of the error if the module has no such setting."""


_WORDS: Final[dict[Any, str]] = {str: "text", int: "whole number", float: "number", bool: "true or false", Path: "path"}
_WORDS.update({Size: "size", Duration: "duration"})
_BOOLS: Final = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


def describe(annotation: Any) -> str:
    """The type in a user's words: ``list of whole number``.

    :raises TypeError: if the type is not supported, with a text for the author of the module.
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
        "netconsd.units.Size, netconsd.units.Duration, or one of them | None)"
    )


def show(value: object) -> str:
    """A value as in a TOML file; None, which TOML does not have, as ``none``."""
    if value is None:
        return "none"
    if isinstance(value, (str, Path, Size, Duration)):
        return json.dumps(str(value), ensure_ascii=False)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(show(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {show(item)}" for key, item in value.items()) + "}"
    return str(value)


def convert(annotation: Any, setting: ModuleSetting) -> Any:
    """Convert a value to a type that :func:`describe` supports; paths become absolute.

    :raises ValueError: if the value does not have the type; the text has the reason, but not the setting.
    """
    value = setting.value
    if not setting.typed:
        value = _from_text(annotation, str(value))
    return _convert(annotation, value, setting.base)


def _optional(annotation: Any) -> Any:
    """The X of ``X | None``; None for any other type."""
    if get_origin(annotation) in (Union, types.UnionType):
        others = [arg for arg in get_args(annotation) if arg is not types.NoneType]
        if len(others) == 1:
            return others[0]
    return None


def _from_text(annotation: Any, text: str) -> object:
    inner = _optional(annotation)
    if inner is not None:
        return _from_text(inner, text)
    if annotation in (str, Path, Size, Duration):
        return text
    if get_origin(annotation) is Literal:
        # Text that is none of the choices stays text, and the conversion refuses it.
        return next((choice for choice in get_args(annotation) if text in (str(choice), show(choice))), text)
    if get_origin(annotation) in (list, tuple) and not text.lstrip().startswith("["):
        # printer.fields=cpu,task without the quotes that a shell takes away.
        item = get_args(annotation)[0]
        if item is str or get_origin(item) is Literal:
            return [_from_text(item, part.strip()) for part in text.split(",") if part.strip()]
    if annotation is bool and text.strip().lower() in _BOOLS:
        return _BOOLS[text.strip().lower()]
    try:
        parsed = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):  # including numbers of thousands of digits and unlimited nesting
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
    converted: Any = None
    if annotation is Path:
        converted = _path(value, base)
    elif annotation is Size or annotation is Duration:
        # Text, or a number of bytes; a number of seconds needs its unit.
        if isinstance(value, str) or (annotation is Size and isinstance(value, int) and _is(value, int)):
            return annotation(value)
        forms = SIZE_FORMS if annotation is Size else DURATION_FORMS
        raise ValueError(f"{show(value)} is not {_article(describe(annotation))}; write {forms}")
    elif annotation is float:
        converted = float(value) if _is(value, float) or _is(value, int) else None  # type: ignore[arg-type]
    elif annotation in _WORDS:
        converted = value if _is(value, annotation) else None
    elif origin is Literal:
        converted = next((choice for choice in args if choice == value and type(choice) is type(value)), None)
    elif origin in (list, tuple) and isinstance(value, list):
        types_of_items = args[:1] * len(value) if origin is list or args[-1] is Ellipsis else args
        if len(types_of_items) == len(value):
            items = enumerate(zip(types_of_items, value, strict=True), start=1)
            converted = origin(_within(f"item {number}", _convert, *pair, base) for number, pair in items)
    elif origin is dict and isinstance(value, dict):
        converted = {key: _within(key, _convert, args[1], item, base) for key, item in value.items()}
    if converted is None:
        raise ValueError(f"{show(value)} is not {_article(describe(annotation))}")
    return converted


def _is(value: object, kind: type) -> bool:
    # bool is a subclass of int, but `retries = true` is an error.
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


def _path(value: object, base: Path) -> Path | None:
    if not isinstance(value, str):
        return None
    if not value or "\0" in value:
        raise ValueError(f"{show(value)} cannot be a path")
    return base / value


def _article(words: str) -> str:
    return words if words.startswith(("text", "true", "one of")) else f"a {words}"


def _within(item: str, converter: Callable[..., Any], *arguments: object) -> Any:
    """Convert an item of a list or table; the text of an error begins with the item."""
    try:
        return converter(*arguments)
    except ValueError as error:
        raise ValueError(f"{item}: {error}") from None
