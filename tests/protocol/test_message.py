"""Messages are immutable values: they can be kept, compared, hashed, pickled and shown, for any bytes."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netconsd.protocol.decode import decode
from netconsd.protocol.message import ExtendedMessage, LegacyMessage, Message, Source
from netconsd.testing import extended_message, legacy_message, source
from tests.support.compare_builds import views
from tests.support.strategies import bodies, datagrams, numbers

SENDER = source("192.0.2.7", 6665)


# Sources.


@pytest.mark.parametrize(
    ("address", "packed"),
    [
        ("192.0.2.7", bytes(10) + b"\xff\xff\xc0\x00\x02\x07"),
        ("0.0.0.0", bytes(10) + b"\xff\xff" + bytes(4)),
        ("255.255.255.255", bytes(10) + b"\xff" * 6),
        ("2001:db8::7", bytes.fromhex("20010db8000000000000000000000007")),
        ("::", bytes(16)),
        ("::1", bytes(15) + b"\1"),
        ("fe80::5055:aff:fe00:202", bytes.fromhex("fe8000000000000050550afffe000202")),
        ("::fffe:c000:207", bytes(10) + b"\xff\xfe\xc0\x00\x02\x07"),
    ],
)
@pytest.mark.parametrize("port", [0, 1, 255, 256, 6665, 65535])
def test_source(address: str, packed: bytes, port: int) -> None:
    """A source has an address in the usual notation, the bytes of the in6_addr, and a port."""
    sender = Source(packed, port)
    assert (sender.address, sender.packed, sender.port) == (address, packed, port)
    assert sender.key == packed + port.to_bytes(2, "big")
    assert Source.from_key(sender.key) == sender
    assert source(address, port) == sender
    assert repr(sender) == f"<Source {address} port {port}>"


def test_source_equality() -> None:
    """Sources are equal, with equal hashes, if and only if address and port are equal."""
    assert source("192.0.2.7", 6665) == SENDER
    assert hash(SENDER) == hash(source("192.0.2.7", 6665))
    others = [source("192.0.2.7", 6666), source("192.0.2.8", 6665), source("::c000:207", 6665), SENDER.key, None]
    assert all(other != SENDER for other in others)
    assert len({SENDER, source("192.0.2.7", 6665), *others}) == 1 + len(others)


@settings(max_examples=50)
@given(st.binary(min_size=16, max_size=16), st.integers(0, 65535))
def test_any_source(packed: bytes, port: int) -> None:
    """Any 16 bytes are an address, and a source survives pickling and copying."""
    sender = Source(packed, port)
    assert sender.address
    for twin in (pickle.loads(pickle.dumps(sender)), copy.copy(sender), copy.deepcopy(sender)):
        assert (twin, hash(twin), twin.address) == (sender, hash(sender), sender.address)


# Both formats.

SAMPLES: list[tuple[str, Callable[[], Message]]] = [
    ("legacy", lambda: legacy_message("<6>[   12.345678][  T123] foo", address="2001:db8::7", received_at=1.5)),
    ("plain", lambda: extended_message("foo")),
    (
        "full",
        lambda: extended_message(
            "foo",
            seq=2**64 - 1,
            ts_usec=2**64 - 1,
            flag="c",
            release="6.4.0",
            caller="T123",
            dictionary={"SUBSYSTEM": "usb"},
            userdata={"rack": "r17"},
            cpu=3,
            taskname="kworker/0:1",
            sysrelease="7.2.13",
            msgid=17,
            seq_reset=True,
            out_of_order=True,
            incomplete=True,
            replayed=True,
            emergency=True,
            missing=2**64 - 2,
            lost=2**31,
        ),
    ),
]
samples = pytest.mark.parametrize("make", [make for _, make in SAMPLES], ids=[name for name, _ in SAMPLES])


@samples
def test_immutable(make: Callable[[], Message]) -> None:
    """No public attribute of a message or of its source can be assigned, deleted or added."""
    message = make()
    for target in (message, message.source):
        public = [name for name in dir(target) if not name.startswith("_")]
        assert "raw" in public or "packed" in public
        for name in [*public, "comment"]:
            with pytest.raises(AttributeError):
                setattr(target, name, "changed")
            with pytest.raises(AttributeError):
                delattr(target, name)
    assert message == make()


@pytest.mark.parametrize("name", ["dictionary", "userdata"])
def test_mappings_are_read_only(name: str) -> None:
    """Dictionary and userdata reject every change, so that no module can change them for the next."""
    message = extended_message("foo", dictionary={"SUBSYSTEM": "usb"}, userdata={"rack": "r17"})
    mapping: Any = getattr(message, name)
    before = dict(mapping)
    with pytest.raises(TypeError):
        mapping["new"] = "item"
    with pytest.raises(TypeError):
        del mapping[next(iter(before))]
    for method in ("clear", "pop", "popitem", "update", "setdefault"):
        assert not hasattr(mapping, method)
    assert dict(getattr(message, name)) == before


@samples
def test_equal_values(make: Callable[[], Message]) -> None:
    """Messages with equal fields are equal, with equal hashes, before and after their views are computed."""
    message, other = make(), make()
    assert views(message) == views(other)
    for twin in (other, make()):
        assert message == twin
        assert hash(message) == hash(twin)
    assert len({message, other, make()}) == 1
    assert message != message.raw
    assert message != message.text


@samples
def test_pickle_and_copy(make: Callable[[], Message]) -> None:
    """A message survives every pickle protocol and copying, with all fields."""
    message = make()
    twins = [pickle.loads(pickle.dumps(message, protocol)) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)]
    expected = views(message)
    twins += [pickle.loads(pickle.dumps(message)), copy.copy(message), copy.deepcopy(message)]
    for twin in twins:
        assert type(twin) is type(message)
        assert twin == message
        assert hash(twin) == hash(message)
        assert views(twin) == expected


@pytest.mark.parametrize(
    "difference",
    [
        *(
            {"seq": 2},
            {"ts_usec": 2},
            {"level": 5},
            {"facility": 1},
            {"flag": "c"},
            {"release": "6.4.0"},
            {"caller": "T1"},
        ),
        *({"userdata": {"a": "1"}}, {"msgid": 1}, {"seq_reset": True}, {"out_of_order": True}, {"incomplete": True}),
        *({"replayed": True}, {"emergency": True}, {"missing": 1}, {"lost": 0}, {"lost": 1}, {"received_at": 1.0}),
        *({"address": "192.0.2.2"}, {"port": 1}),
    ],
    ids=str,
)
def test_unequal_values(difference: dict[str, Any]) -> None:
    """Messages that differ in any field are not equal."""
    assert extended_message("foo") != extended_message("foo", **difference)


def test_formats_are_not_equal() -> None:
    """Legacy and extended messages are never equal; legacy lines with other bytes, times or senders are not equal."""
    legacy = legacy_message("foo")
    assert legacy != extended_message("foo")
    for other in (legacy_message("bar"), legacy_message("foo", received_at=1.0), legacy_message("foo", port=1)):
        assert legacy != other
    assert Message(SENDER, 0.0, b"foo\n") != LegacyMessage(SENDER, 0.0, b"foo\n")


def test_repr() -> None:
    """The repr has type, sender and bytes, without control characters."""
    assert repr(legacy_message("\x1b[31mfoo")) == "<LegacyMessage from 192.0.2.1: b'\\x1b[31mfoo\\n'>"
    message = decode(b"6,416,1758426,-;\x1b[31m\xc3\xa9", SENDER, 0.0)
    assert repr(message) == "<ExtendedMessage 416 from 192.0.2.7: b'\\x1b[31m\\xc3\\xa9'>"


# Extended messages.


def test_extended_without_anything() -> None:
    """A field that was not sent is None or empty, and no mark is set."""
    message = extended_message("foo")
    assert (message.caller, message.release, message.msgid, message.cpu, message.taskname) == (None,) * 5
    assert (message.dictionary, message.userdata) == ({}, {})
    assert (message.seq_reset, message.out_of_order, message.incomplete, message.replayed) == (False,) * 4
    assert (message.emergency, message.continuation) == (False, False)
    assert (message.missing, message.lost) == (0, None)


def test_extended_with_everything() -> None:
    """Every field has the value of the sender or the stream."""
    full = SAMPLES[2][1]()
    assert isinstance(full, ExtendedMessage)
    assert (full.seq, full.ts_usec, full.continuation) == (2**64 - 1, 2**64 - 1, True)
    assert (full.caller, full.release, full.msgid, full.cpu) == ("T123", "6.4.0", 17, 3)
    assert (full.taskname, full.userdata, full.dictionary) == ("kworker/0:1", {"rack": "r17"}, {"SUBSYSTEM": "usb"})
    assert (full.seq_reset, full.out_of_order, full.incomplete, full.replayed, full.emergency) == (True,) * 5
    assert (full.missing, full.lost) == (2**64 - 2, 2**31)


def test_release_of_header_before_that_of_sysdata() -> None:
    """The release is that of the header, or else that of the sysdata."""
    assert extended_message("foo", release="6.4.0", sysrelease="7.2.13").release == "6.4.0"
    assert extended_message("foo", sysrelease="7.2.13").release == "7.2.13"


# Any bytes.


def access_everything(message: Message) -> None:
    """Access everything of a message."""
    seen = views(message)
    assert repr(message)
    assert message.text.encode().decode() == message.text
    twin = pickle.loads(pickle.dumps(message))
    assert (twin, hash(twin), views(twin)) == (message, hash(message), seen)


@settings(max_examples=200)
@given(bodies, st.integers(0, 2047), numbers, numbers)
def test_any_body(body: bytes, prefix: int, seq: int, ts_usec: int) -> None:
    """No view, repr, comparison, hash or pickle of a message raises, for any body."""
    message = ExtendedMessage(SENDER, 0.0, body, prefix, seq, ts_usec, False, None, None, -1, False, False)
    access_everything(message)


@settings(max_examples=200)
@given(datagrams)
def test_any_line(line: bytes) -> None:
    """No view, repr, comparison, hash or pickle of a message raises, for any line."""
    message = LegacyMessage(SENDER, 0.0, line)
    access_everything(message)
    assert message.ts_usec is None or 0 <= message.ts_usec < 2**64
    assert message.facility is None or 0 <= message.facility <= 255
