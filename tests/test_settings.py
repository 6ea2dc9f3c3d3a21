"""Settings: every value is in its bounds, or a ConfigError names the field."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from netconsd.settings import BOUNDS, ConfigError, Settings, metrics_address, problem


def refusal(**values: Any) -> str:
    """Make settings, and return what the ConfigError says."""
    with pytest.raises(ConfigError) as caught:
        Settings(**values)
    return str(caught.value)


def test_defaults() -> None:
    """The defaults are in bounds and are those of the options table."""
    settings = Settings()
    assert (settings.port, settings.address, settings.listeners, settings.workers) == (1514, None, 1, 2)
    assert (settings.batch, settings.gc_interval, settings.gc_age) == (512, 60.0, 3600.0)


def test_frozen() -> None:
    """Settings cannot be changed once made, so that a check that passed stays true."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().port = 1  # type: ignore[misc]


@pytest.mark.parametrize("field", [name for name in BOUNDS if not name.startswith("gc_")])
def test_bounds(field: str) -> None:
    """Both bounds of a field are allowed, and what is just outside of them is refused with the field's name."""
    low, high = BOUNDS[field]
    for value in (low, high):
        Settings(**{field: value})  # type: ignore[arg-type]
    for value in (low - 1, high + 1):
        assert refusal(**{field: value}).startswith(f"{field}: {value} is not between ")


def test_port_out_of_range() -> None:
    """The text of a range error names the field, the value and the range."""
    assert refusal(port=70000) == "port: 70000 is not between 0 and 65535"


@pytest.mark.parametrize("value", ["1514", 1.5, True, None])
def test_not_a_whole_number(value: object) -> None:
    """A count takes an int only: neither text, nor a fraction, nor a bool passes for one."""
    assert refusal(port=value) == f"port: {value!r} is not a whole number"


@pytest.mark.parametrize("value", ["1", float("nan"), float("inf"), False])
def test_not_a_number(value: object) -> None:
    """A time takes a finite number only."""
    assert refusal(reorder=value) == f"reorder: {value!r} is not a number"


@pytest.mark.parametrize("value", ["yes", 1, None])
def test_not_a_truth(value: object) -> None:
    """What is on or off takes true or false only."""
    assert refusal(acks=value) == f"acks: {value!r} is neither true nor false"


@pytest.mark.parametrize("address", ["0.0.0.0", "192.0.2.1", "::", "::1", "fe80::1%eth0", "::ffff:192.0.2.1"])
def test_addresses(address: str) -> None:
    """Literals of both families are addresses, with a scope, too."""
    assert Settings(address=address).address == address


@pytest.mark.parametrize("address", ["", "localhost", "192.0.2", "192.0.2.256", "fe80::1%", "::1/64", 1, b"::1"])
def test_not_an_address(address: object) -> None:
    """Names, networks, truncated literals and what is not text are no addresses."""
    assert refusal(address=address) == f"address: {address!r} is not an IPv4 or IPv6 address"


def test_gc_order() -> None:
    """A sender cannot be forgotten sooner than it is looked for."""
    assert refusal(gc_interval=60, gc_age=59).startswith("gc_age: 59 seconds are less than gc_interval, 60;")
    Settings(gc_interval=60, gc_age=60)
    Settings(gc_interval=0, gc_age=0)


def test_gc_bounds() -> None:
    """Interval and age are bounded below by zero and above by a year."""
    assert refusal(gc_interval=-1) == "gc_interval: -1 is not between 0 and 31622400 seconds"
    assert refusal(gc_age=1e9) == "gc_age: 1000000000.0 is not between 0 and 31622400 seconds"


def test_milliseconds() -> None:
    """A time that was given in milliseconds is explained in milliseconds."""
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
def test_where_the_metrics_are(text: str, address: tuple[str, int]) -> None:
    """A port alone is one of this machine only; an address stands before it, and one of IPv6 in brackets."""
    assert metrics_address(text) == address
    assert Settings(metrics=text).metrics == text


@pytest.mark.parametrize(
    "value",
    [
        "", "x", ":9100", "65536", "-1", "9" * 5000, "٣", "::1:9100", "[::1]", "[::1]9100", "[192.0.2.1]:9100",
        "localhost:9100", "192.0.2.1:", "192.0.2.256:1", 9100, True, 1.5,
    ],
)  # fmt: skip
def test_where_the_metrics_cannot_be(value: Any) -> None:
    """Anything else is refused with the forms that are possible."""
    told = refusal(metrics=value)
    assert told == f"metrics: {value!r} is not [ADDRESS:]PORT, such as 9100, 192.0.2.1:9100 or [::1]:9100"
