"""Settings: every value is within its bounds, or a ConfigError names the field; docs/options has every option."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from netconsd.settings import OPTIONS, ConfigError, Option, Settings, metrics_address, problem
from tests.support.options_table import table

NUMBERS = [option for option in OPTIONS.values() if option.bounds and len(option.fields) == 1]


def error_of(**values: Any) -> str:
    """Make settings with an error, and return the text of the ConfigError."""
    with pytest.raises(ConfigError) as caught:
        Settings(**values)
    return str(caught.value)


def test_defaults() -> None:
    """The defaults are within their bounds; those of the C daemon's options are the C daemon's."""
    settings = Settings()
    assert (settings.port, settings.address, settings.listeners, settings.workers) == (1514, None, 1, 2)
    assert (settings.batch, settings.gc_interval, settings.gc_age) == (512, 60.0, 3600.0)


def test_frozen() -> None:
    """Settings cannot be changed, so they stay within their bounds."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().port = 1  # type: ignore[misc]


@pytest.mark.parametrize("option", NUMBERS, ids=lambda option: option.name)
def test_bounds(option: Option) -> None:
    """Both bounds of a number are allowed, and the next values outside raise an error with the field's name."""
    (field,) = option.fields
    assert option.bounds is not None
    low, high = option.bounds
    for value in option.bounds:
        values: dict[str, Any] = {field: value}
        Settings(**values)
    for value in (low - 1, high + 1):
        assert error_of(**{field: value}).startswith(f"{field}: {value} is not between ")


def test_port_out_of_range() -> None:
    """The text of a range error names the field, the value and the range."""
    assert error_of(port=70000) == "port: 70000 is not between 0 and 65535"


@pytest.mark.parametrize("value", ["1514", 1.5, True, None])
def test_not_a_whole_number(value: object) -> None:
    """A count accepts only an int: no text, no float, no bool."""
    assert error_of(port=value) == f"port: {value!r} is not a whole number"


@pytest.mark.parametrize("value", ["1", float("nan"), float("inf"), False])
def test_not_a_number(value: object) -> None:
    """A time accepts only a finite number."""
    assert error_of(reorder=value) == f"reorder: {value!r} is not a number"


@pytest.mark.parametrize("value", ["lines", "", 1, None])
def test_not_a_choice(value: object) -> None:
    """A choice accepts only its texts, which the error lists."""
    assert error_of(framing=value) == f"framing: {value!r} is not one of auto, line, datagram"
    assert Settings(framing="line").framing == "line"
    assert OPTIONS["framing"].values == "auto, line, datagram"


@pytest.mark.parametrize("value", ["yes", 1, None])
def test_not_a_flag(value: object) -> None:
    """A flag accepts only true or false."""
    assert error_of(acks=value) == f"acks: {value!r} is neither true nor false"


@pytest.mark.parametrize("address", ["0.0.0.0", "192.0.2.1", "::", "::1", "fe80::1%eth0", "::ffff:192.0.2.1"])
def test_addresses(address: str) -> None:
    """Literals of both families are accepted, also with a scope."""
    assert Settings(address=address).address == address


@pytest.mark.parametrize("address", ["", "localhost", "192.0.2", "192.0.2.256", "fe80::1%", "::1/64", 1, b"::1"])
def test_not_an_address(address: object) -> None:
    """Names, networks, truncated literals and values that are not text are errors."""
    assert error_of(address=address) == f"address: {address!r} is not an IPv4 or IPv6 address"


def test_gc_order() -> None:
    """``gc_age`` must not be less than ``gc_interval``."""
    assert error_of(gc_interval=60, gc_age=59).startswith("gc_age: 59 seconds are less than gc_interval, 60 seconds;")
    Settings(gc_interval=60, gc_age=60)
    Settings(gc_interval=0, gc_age=0)


def test_gc_bounds() -> None:
    """Interval and age are between zero and a year."""
    assert error_of(gc_interval=-1) == "gc_interval: -1 is not between 0 and 31622400 seconds"
    assert error_of(gc_age=1e9) == "gc_age: 1000000000.0 is not between 0 and 31622400 seconds"


def test_milliseconds() -> None:
    """The error about a time in milliseconds is in milliseconds."""
    assert problem("reorder", 60000, milliseconds=True) is None
    assert problem("reorder", 60001, milliseconds=True) == "60001 is not between 0 and 60000 milliseconds"


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("9100", ("127.0.0.1", 9100)),
        ("0", ("127.0.0.1", 0)),
        ("65535", ("127.0.0.1", 65535)),
        ("192.0.2.1:9100", ("192.0.2.1", 9100)),
        ("0.0.0.0:1", ("0.0.0.0", 1)),
        ("[::1]:9100", ("::1", 9100)),
        ("[2001:DB8::1]:9100", ("2001:db8::1", 9100)),
    ],
)
def test_metrics(text: str, address: tuple[str, int]) -> None:
    """A port without an address is on 127.0.0.1; an IPv6 address stands in brackets."""
    assert metrics_address(text) == address
    assert Settings(metrics=text).metrics == text


@pytest.mark.parametrize(
    "value",
    [
        "", "x", ":9100", "65536", "-1", "9" * 5000, "٣", "::1:9100", "[::1]", "[::1]9100", "[192.0.2.1]:9100",
        "localhost:9100", "192.0.2.1:", "192.0.2.256:1", 9100, True, 1.5,
    ],
)  # fmt: skip
def test_not_metrics(value: Any) -> None:
    """Any other value is an error that shows the possible forms."""
    assert (
        error_of(metrics=value)
        == f"metrics: {value!r} is not [ADDRESS:]PORT, such as 9100, 192.0.2.1:9100 or [::1]:9100"
    )


def test_the_table_in_the_docs() -> None:
    """The table in docs/options is the one made from the declarations (``python -m tests.support.options_table``)."""
    assert table() in (Path(__file__).parents[1] / "docs/options.rst").read_text()
