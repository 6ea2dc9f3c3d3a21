"""Values of settings are converted from TOML or text to the types of their annotations."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Any, Literal, Optional

import pytest

from netconsd.outputs.setting_types import ModuleSetting, convert, describe, show

BASE = Path("/etc/netconsd")


def toml(annotation: Any, value: object) -> Any:
    """Convert a value from a file."""
    return convert(annotation, ModuleSetting(value, "netconsd.toml:1", BASE))


def typed(annotation: Any, text: str) -> Any:
    """Convert text from the command line."""
    return convert(annotation, ModuleSetting(text, "--set a.b", BASE, typed=False))


def refusal(call: Any, *arguments: object) -> str:
    """The text of the ValueError of a call."""
    with pytest.raises(ValueError) as caught:
        call(*arguments)
    return str(caught.value)


@pytest.mark.parametrize(
    ("annotation", "text", "value"),
    [
        (str, "12", "12"),
        (str, "", ""),
        (str, ' "x" ', ' "x" '),
        (int, "12", 12),
        (int, "-1_000", -1000),
        (int, "0x10", 16),
        (float, "1.5", 1.5),
        (float, "2", 2.0),
        (bool, "true", True),
        (bool, "No", False),
        (bool, "on", True),
        (bool, "OFF", False),
        (Path, "logs/a b", BASE / "logs/a b"),
        (Path, "/var/log", Path("/var/log")),
        (Literal["a", "b"], "b", "b"),
        (Literal["1", 2], "2", 2),
        (list[str], '["a", "b"]', ["a", "b"]),
        (list[int], "[]", []),
        (tuple[int, ...], "[1, 2]", (1, 2)),
        (tuple[str, int], '["a", 2]', ("a", 2)),
        (dict[str, int], "{a = 1}", {"a": 1}),
        (int | None, "3", 3),
        (str | None, "none", "none"),
        (Optional[Path], "x", BASE / "x"),  # noqa: UP045 - the older spelling is supported
        (list[int] | None, "[1]", [1]),
        (list[str], "a, b,", ["a", "b"]),
        (list[str], "a", ["a"]),
        (list[str], "", []),
        (tuple[Literal["a", "b"], ...], "b,a", ("b", "a")),
        (tuple[str, ...] | None, "web*,192.0.2.0/24", ("web*", "192.0.2.0/24")),
    ],
)
def test_text(annotation: Any, text: str, value: object) -> None:
    """Text from the command line is converted to the type of the annotation."""
    assert typed(annotation, text) == value
    assert type(typed(annotation, text)) is type(value)


@pytest.mark.parametrize(
    ("annotation", "parsed", "value"),
    [
        (str, "x", "x"),
        (float, 2, 2.0),
        (list[Path], ["a", "/b"], [BASE / "a", Path("/b")]),
        (dict[str, list[int]], {"a": [1]}, {"a": [1]}),
        (tuple[Path, ...], ["a"], (BASE / "a",)),
        (Literal[True, "auto"], True, True),
        (bool, False, False),
        (int, 0, 0),
    ],
)
def test_toml(annotation: Any, parsed: object, value: object) -> None:
    """TOML values of the right type are accepted, also in lists and tables; paths become absolute."""
    assert toml(annotation, parsed) == value
    assert type(toml(annotation, parsed)) is type(value)


@pytest.mark.parametrize(
    ("annotation", "text", "reason"),
    [
        (int, "ten", '"ten" is not a whole number'),
        (int, "1.5", "1.5 is not a whole number"),
        (int, "1\nx = 2", '"1\\nx = 2" is not a whole number'),
        (float, "", '"" is not a number'),
        (bool, "2", "2 is not true or false"),
        (bool, "maybe", '"maybe" is not true or false'),
        (Literal["a", "b"], "c", '"c" is not one of "a", "b"'),
        (list[str], "[a", '"[a" is not a list of text, such as ["a", "b"]'),
        (list[int], "1,2", '"1,2" is not a list of whole number, such as ["a", "b"]'),
        (tuple[Literal["a", "b"], ...], "a,c", 'item 2: "c" is not one of "a", "b"'),
        (list[int], '[1, "b"]', 'item 2: "b" is not a whole number'),
        (dict[str, int], "a=1", '"a=1" is not a table of whole number, such as {a = "b"}'),
        (dict[str, int], "{a = true}", "a: true is not a whole number"),
        (tuple[int, int], "[1]", "[1] is not a list of 2: whole number, whole number"),
        (Path, "", '"" cannot be a path'),
        (list[int] | None, "1", "1 is not a list of whole number"),
    ],
)
def test_wrong_text(annotation: Any, text: str, reason: str) -> None:
    """Text of another type is an error with the type or an example."""
    assert refusal(typed, annotation, text) == reason


@pytest.mark.parametrize(
    ("annotation", "parsed", "reason"),
    [
        (str, 1, "1 is not text"),
        (int, True, "true is not a whole number"),
        (int, "1", '"1" is not a whole number'),
        (bool, 1, "1 is not true or false"),
        (bool, "yes", '"yes" is not true or false'),
        (Path, 1, "1 is not a path"),
        (Path, "a\0b", '"a\\u0000b" cannot be a path'),
        (Literal[1, "a"], True, 'true is not one of 1, "a"'),
        (list[str], "a", '"a" is not a list of text'),
        (dict[str, str], ["a"], '["a"] is not a table of text'),
        (str, {"a": {"b": 1.5}}, "{a = {b = 1.5}} is not text"),
        (dict[str, list[int]], {"a": ["b"]}, 'a: item 1: "b" is not a whole number'),
    ],
)
def test_wrong_toml(annotation: Any, parsed: object, reason: str) -> None:
    """A TOML value of another type is an error, and a bool is not a number."""
    assert refusal(toml, annotation, parsed) == reason


class Colour(enum.Enum):
    """An unsupported type."""

    RED = 1


@pytest.mark.parametrize(
    "annotation",
    [bytes, list, dict, tuple, object, Any, dict[int, str], set[str], int | str, Colour, Literal[b"x"], None],
)
def test_unsupported(annotation: Any) -> None:
    """An unsupported type is an error that lists the supported ones."""
    with pytest.raises(TypeError, match=r"is not one that a setting can have \(str, int, .*\| None\)$"):
        describe(annotation)


def test_unsupported_inside() -> None:
    """A type that contains an unsupported type is an error that names the inner type."""
    with pytest.raises(TypeError, match=r"^the type bytes is"):
        describe(list[dict[str, bytes]])


def test_show() -> None:
    """``show`` returns values in the syntax of TOML."""
    assert show(["a", Path("/b"), 1, True, {"c": None}]) == '["a", "/b", 1, true, {c = none}]'
