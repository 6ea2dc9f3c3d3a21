"""Messages as JSON: no field is lost, any reader takes the lines, and bad lines are refused with a reason."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netconsd.jsonl import from_json, json_lines, to_json
from netconsd.protocol.decode import Malformed, decode
from netconsd.protocol.message import FIELDS, ExtendedMessage, LegacyDatagram, LegacyMessage, Message, Source
from netconsd.testing import extended_message, legacy_message, source
from tests.support.messages import counts, extended_messages, sources, times
from tests.support.strategies import datagrams


@given(extended_messages())
def test_extended_messages_are_kept(message: ExtendedMessage) -> None:
    """Every field and every byte of an extended message is the same after it was written and read."""
    read = from_json(to_json(message))
    assert type(read) is ExtendedMessage
    assert [getattr(read, name) for name in FIELDS] == [getattr(message, name) for name in FIELDS]
    assert read == message


@given(st.sampled_from([LegacyMessage, LegacyDatagram]), sources, times, st.binary(min_size=1), st.booleans(), counts)
def test_legacy_messages_are_kept(
    kind: type[Message], sender: Source, received_at: float, raw: bytes, mark: bool, limited: int
) -> None:
    """Every field and every byte of a message of legacy text is the same after it was written and read."""
    message = kind(sender, received_at, raw)
    message._new, message._boot, message._limited = mark, not mark, limited
    read = from_json(to_json(message))
    assert read == message
    assert (read.new, read.boot, read.limited) == (mark, not mark, limited)


@given(datagrams)
def test_lines_are_safe(datagram: bytes) -> None:
    """A line of any datagram is printable ASCII, and an object whose text is that of the message."""
    message = None
    with suppress(Malformed):
        message = decode(datagram, source(), 0.0)
    if isinstance(message, Message):
        line = json_lines([message]).decode("ascii")
        assert line[:-1].isprintable()
        assert line.endswith("}\n")
        assert json.loads(line)["text"] == message.text


def test_control_characters_are_escapes() -> None:
    """Characters that could change a terminal, and those that are not ASCII, are escapes: C0, DEL, C1, bidi, emoji."""
    text = "\x1b[m \x7f \x9b \u202e \u2028 \U0001f600 \xe9"
    line = to_json(extended_message(text)).decode("ascii")
    assert line.isprintable()
    assert json.loads(line)["text"] == text


def test_fields_have_their_values() -> None:
    """The fields have the names and the values of the message's attributes."""
    message = extended_message(
        "text\\x",
        address="2001:db8::7",
        port=7,
        received_at=1763820245.25,
        level=4,
        facility=3,
        seq=5,
        ts_usec=6,
        caller="C2",
        userdata={"rack": "r17"},
        cpu=3,
        taskname="init",
        release="6.12.0",
        msgid=9,
        missing=1,
        lost=0,
        limited=202,
    )
    value = json.loads(to_json(message))
    shared = set(value) - {"version", "time", "format", "address", "interface", "scope_id", "port", "bytes", "raw"}
    assert {name: value[name] for name in shared - {"release_in_header"}} == {
        name: getattr(message, name) for name in shared - {"release_in_header"}
    }
    assert value["time"] == "2025-11-22T14:04:05.250000Z"
    assert (value["address"], value["interface"], value["scope_id"], value["port"]) == ("2001:db8::7", None, None, 7)
    assert (value["lost"], value["limited"]) == (0, 202)


def test_unknown_is_not_zero() -> None:
    """An unknown number is null."""
    value = json.loads(to_json(extended_message("x")))
    assert value["lost"] is value["msgid"] is value["cpu"] is None


def test_plain_messages_have_their_text_once() -> None:
    """The bytes are given only if they do not follow from the text."""
    assert json.loads(to_json(extended_message("plain")))["raw"] is None
    assert json.loads(to_json(extended_message("more", cpu=1)))["raw"] == "more\n cpu=1\n"
    value = json.loads(to_json(legacy_message(b"\xff")))
    assert (value["text"], value["raw"], value["bytes"]) == ("\\xff", None, {"raw": "/wo="})


def test_interface_of_link_local_senders() -> None:
    """Senders of one link-local address on two interfaces stay two senders."""
    key = bytes.fromhex("fe80 0000 0000 0007 0000 0000 0000 0001") + b"\x1a\x09"
    message = LegacyMessage(Source.from_key(key), 0.0, b"x\n")
    assert json.loads(to_json(message))["scope_id"] == 7
    assert from_json(to_json(message)).source.key == key


@pytest.mark.parametrize("received_at", [float("nan"), float("inf"), 1e300])
def test_no_nan(received_at: float) -> None:
    """A time that JSON or the calendar does not have is an error, and never NaN in a line."""
    with pytest.raises(ValueError, match=r"^received_at: "):
        to_json(extended_message("x", received_at=received_at))


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"version": 2}, "version: 2 is not 1"),
        ({"version": True}, "version: True is not 1"),
        ({"version": None}, "version: None is not 1"),
        ({"received_at": "now"}, "received_at: 'now' is not a number of seconds"),
        ({"received_at": 1e300}, "received_at: 1e+300 is not"),
        ({"address": "web1"}, "address: 'web1' is not an address"),
        ({"address": 7}, "address: 7 is not an address"),
        ({"port": 65536}, "port: 65536 is not a whole number from 0 to 65535"),
        ({"format": "syslog"}, "format: 'syslog' is not extended, legacy or datagram"),
        ({"format": []}, "format: [] is not"),
        ({"level": 8}, "level: 8 is not a whole number from 0 to 7"),
        ({"seq": -1}, "seq: -1 is not"),
        ({"seq": 1.0}, "seq: 1.0 is not"),
        ({"seq": 2**64}, f"seq: {2**64} is not"),
        ({"msgid": True}, "msgid: True is not"),
        ({"boot": 1}, "boot: 1 is not true or false"),
        ({"text": None}, "text: None is not a text"),
        ({"text": "\ud800"}, "text: '\\ud800' has half of a surrogate pair"),
        ({"raw": 7}, "raw: 7 is not a text"),
        ({"bytes": []}, "bytes: [] is not an object"),
        ({"bytes": {"raw": "%"}}, "bytes.raw: '%' is not a text in base64"),
        ({"bytes": {"caller": None}}, "bytes.caller: None is not a text in base64"),
        ({"text": 10**70}, f"text: {'1' + '0' * 56}... is not a text"),
    ],
)
def test_bad_fields(change: dict[str, Any], error: str) -> None:
    """A field of another type or out of range is an error that names the field and shows the value, shortened."""
    value = {**json.loads(to_json(extended_message("x", release="6.12"))), **change}
    with pytest.raises(ValueError) as caught:
        from_json(json.dumps(value))
    assert str(caught.value).startswith(error)


@pytest.mark.parametrize(("name", "most"), [("text", 131071), ("caller", 65535), ("release", 65535)])
def test_longer_than_any_datagram(name: str, most: int) -> None:
    """A field is as long as that of a decoded message at most: a longer one has no place in a journal."""
    fields = json.loads(to_json(extended_message("x", release="7.3")))
    fields["release_in_header"] = True
    for size in (most, most + 1):
        fields[name] = size * "x"
        if size > most:
            with pytest.raises(ValueError, match=f"^{name}: .* bytes"):
                from_json(json.dumps(fields))
        else:
            assert getattr(from_json(json.dumps(fields)), name) == fields[name]


def test_missing_fields() -> None:
    """A line without a field that it needs is an error that names the field; others can be absent or unknown."""
    value = json.loads(to_json(extended_message("x", release="6.12")))
    derived = {"time", "interface", "dictionary", "userdata", "cpu", "taskname"}
    less = {key: item for key, item in value.items() if key not in derived}
    assert from_json(json.dumps({**less, "other": 1})) == extended_message("x", release="6.12")
    for name in less:
        with pytest.raises(ValueError, match=f"^{name}: "):
            from_json(json.dumps({key: item for key, item in value.items() if key != name}))


@pytest.mark.parametrize("line", ["", "{", "[]", "7", "null", '"x"', "[" * 100_000, "\x00", b"\xff", "{}"])
def test_lines_that_are_no_objects(line: str | bytes) -> None:
    """A line that is not an object of this format is a ValueError, whatever it is."""
    with pytest.raises(ValueError):
        from_json(line)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=4))
def test_any_value_of_any_field(value: object) -> None:
    """With any value in any field, a line is read or is a ValueError."""
    good = json.loads(to_json(extended_message("x", release="6.12", caller="T1")))
    for name in good:
        with suppress(ValueError):
            assert isinstance(from_json(json.dumps({**good, name: value})), Message)
