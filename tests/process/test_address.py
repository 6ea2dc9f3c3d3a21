"""The address, the group and the file of properties: what is right, and what each error names."""

from __future__ import annotations

from pathlib import Path

import pytest

from netconsd.process.address import Address, group, parse, properties
from netconsd.settings import ConfigError


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("nats://n1:4223/logs", Address("nats", ("n1:4223",), "logs")),
        ("nats://n1,n2:4223/logs", Address("nats", ("n1:4222", "n2:4223"), "logs")),
        ("tls://[2001:db8::1]/logs", Address("nats", ("[2001:db8::1]:4222",), "logs", True)),
        ("kafka://k1,k2,k3/netconsd", Address("kafka", ("k1:9092", "k2:9092", "k3:9092"), "netconsd")),
    ],
)
def test_right(text: str, address: Address) -> None:
    """An address has one or more servers, with the usual ports, and the name of a stream or topic."""
    assert parse(text) == address


@pytest.mark.parametrize(
    "text",
    [
        *("", "logs", "http://h/x", "nats://h", "nats:///logs", "nats://h:0/logs", "nats://h:99999/x", "nats://h/a.b"),
        *("nats://h/", "nats://h/a b", "kafka://h/a/b", "kafka://h/", "kafka://,/t", "nats://u:secret@h/logs"),
        *("kafka://h?x/t", "nats://[::1/logs"),
    ],
)
def test_wrong(text: str) -> None:
    """Anything else is an error that names the option, and shows no password."""
    with pytest.raises(ConfigError, match=r"^--from: ") as caught:
        parse(text)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "a b", "a.b", "x" * 101, "a>"])
def test_wrong_groups(text: str) -> None:
    """A group that a broker would refuse is an error."""
    with pytest.raises(ConfigError, match=r"^--group: "):
        group(text)


def test_properties(tmp_path: Path) -> None:
    """The file has KEY=VALUE lines, comments and empty lines; a value can have an equals sign."""
    file = tmp_path / "properties"
    file.write_text("# a comment\n\nsasl.username = me\nsasl.password=a=b\n")
    assert properties(file, "kafka") == {"sasl.username": "me", "sasl.password": "a=b"}


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (b"user", ":1: is not KEY=VALUE"),
        (b"user=a\nuser=b", ":2: user is given twice"),
        (b"sasl.username=a", ":1: sasl.username is not one of user, password"),
        (b"\xff", ": is not UTF-8"),
        (b"user=a\nca_file=/no/such", ":2: ca_file: /no/such: No such file or directory"),
        (b"credentials=/dev", ":1: credentials: /dev: Is a directory"),
    ],
)
def test_wrong_properties(tmp_path: Path, text: bytes, error: str) -> None:
    """An error names the file and the line, also of a file that cannot be read."""
    file = tmp_path / "properties"
    file.write_bytes(text)
    with pytest.raises(ConfigError) as caught:
        properties(file, "nats")
    assert f"--broker-config: {file}{error}" in str(caught.value)


def test_properties_of_tls(tmp_path: Path) -> None:
    """Certificates contradict an address without TLS, as those of the module nats do."""
    file = tmp_path / "properties"
    file.write_text(f"ca_file={file}")
    assert properties(file, "nats", is_tls=True) == {"ca_file": str(file)}
    with pytest.raises(ConfigError, match=r":1: ca_file needs an address that begins with tls://$"):
        properties(file, "nats", is_tls=False)


def test_no_properties(tmp_path: Path) -> None:
    """A file that cannot be read is an error with the reason."""
    with pytest.raises(ConfigError, match=r"--broker-config: .*: No such file"):
        properties(tmp_path / "none", "nats")
