"""Sizes and durations: the accepted forms, how they are shown, and errors that name the forms."""

from __future__ import annotations

from pathlib import Path

import pytest

from netconsd.outputs.setting_types import ModuleSetting, convert, describe, show
from netconsd.units import Duration, Size


@pytest.mark.parametrize(
    ("text", "size", "shown"),
    [
        ("0", 0, "0"),
        ("1000", 1000, "1000"),
        ("64M", 64 << 20, "64M"),
        ("64MiB", 64 << 20, "64M"),
        ("1.5g", 3 << 29, "1536M"),
        (" 2T ", 2 << 40, "2T"),
        ("1024K", 1 << 20, "1M"),
        ("9007199254740993", 9007199254740993, "9007199254740993"),
    ],
)
def test_sizes(text: str, size: int, shown: str) -> None:
    """A size is a number of bytes, with a unit of a power of 1024; it is shown in the largest unit without fraction."""
    assert Size(text) == Size(size) == size
    assert str(Size(text)) == shown
    assert Size(str(Size(text))) == size


@pytest.mark.parametrize(
    "text", ["", "M", "64MB", "64 M", "-1", "1e3", "1_000", "0x10", "1.5", "\u0661M", "9" * 19 + "T"]
)
def test_wrong_sizes(text: str) -> None:
    """Any other text is an error that names the forms."""
    with pytest.raises(ValueError, match=r"such as 64M$"):
        Size(text)


@pytest.mark.parametrize(
    ("text", "seconds", "shown"),
    [
        ("90s", 90, "90s"),
        ("90m", 5400, "90m"),
        ("36h", 129_600, "36h"),
        ("14d", 1_209_600, "2w"),
        ("1.5h", 5400, "90m"),
    ],
)
def test_durations(text: str, seconds: float, shown: str) -> None:
    """A duration has a unit, and is a number of seconds."""
    assert Duration(text) == Duration(seconds) == seconds
    assert str(Duration(text)) == shown
    assert Duration(str(Duration(text))) == seconds


@pytest.mark.parametrize("text", ["", "14", "d", "14 d", "-1d", "1D", "1y", "1h30m", "nan", "inf"])
def test_wrong_durations(text: str) -> None:
    """Any other text is an error that names the forms; a number has no unit."""
    with pytest.raises(ValueError, match=r"such as 90s, 1h or 14d$"):
        Duration(text)


@pytest.mark.parametrize("number", [-1.0, float("nan"), float("inf")])
def test_durations_are_finite(number: float) -> None:
    """A duration is neither negative nor infinite."""
    with pytest.raises(ValueError):
        Duration(number)


@pytest.mark.parametrize("typed", [True, False])
def test_settings(typed: bool) -> None:
    """Settings of these types are text in a file and on the command line; a size can be a number in a file."""

    def converted(annotation: object, value: object) -> object:
        return convert(annotation, ModuleSetting(value, "x", Path("/"), typed=typed))

    assert converted(Size, "64M") == 64 << 20
    assert converted(Duration | None, "14d") == 14 * 86400
    assert isinstance(converted(Size, "64M"), Size)
    with pytest.raises(ValueError, match=r"such as 64M$"):
        converted(Size, "much")
    if typed:
        assert converted(Size | None, 4096) == 4096
        for annotation, value in ((Duration, 14), (Duration, 1.5), (Size, 1.5), (Size, True), (Size, [])):
            with pytest.raises(ValueError, match="; write a number "):
                converted(annotation, value)


def test_descriptions() -> None:
    """The list of settings has the types as size and duration, and defaults as a file has them."""
    assert (describe(Size), describe(Duration | None)) == ("size", "duration")
    assert (show(Size("64M")), show(Duration("1d"))) == ('"64M"', '"1d"')
