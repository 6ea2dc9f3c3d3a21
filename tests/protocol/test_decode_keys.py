"""The replay notice, the keys of a header, and fragments (docs/wire sections 3 and 5)."""

from __future__ import annotations

import pytest

from netconsd.protocol.decode import TOTAL_LIMIT, Malformed, decode
from tests.support.decoding import SENDER, is_text, piece, read
from tests.support.strategies import NOTICE

# The notice of a replay (rule 4).


@pytest.mark.parametrize("datagram", [NOTICE + b"%b", NOTICE + b"7.0.0,%b", b"7.0.0," + NOTICE + b"%b"])
def test_replayed(datagram: bytes) -> None:
    """The notice can be before the header, before the release, or between them; it marks the message."""
    message = read(datagram % b"6,11,1758426,c,caller=C2;text\n msgid=5\n")
    assert message.replayed
    assert message.release == ("7.0.0" if b"7.0.0" in datagram else None)
    assert (message.seq, message.ts_usec, message.caller, message.msgid) == (11, 1758426, "C2", 5)
    assert message.raw == b"text\n msgid=5\n"


def test_replayed_fragment() -> None:
    """The notice marks fragments as well."""
    assert piece(NOTICE + b"6,11,1758426,-,ncfrag=0/31;text").piece.replayed
    assert not piece(b"6,11,1758426,-,ncfrag=0/31;text").piece.replayed


@pytest.mark.parametrize(
    "datagram",
    [
        *(NOTICE, NOTICE + b"text\n", NOTICE + b"[   12.345678] text\n", NOTICE * 2 + b"6,11,1758426,-;text\n"),
        *(NOTICE + b"7.0.0," + NOTICE + b"6,11,1758426,-;text\n", b"7.0.0," + NOTICE + b"text\n"),
        *(b"7.0.0," + NOTICE + b"foo,6,11,1758426,-;text\n", b"7.0.0," + NOTICE + b",6,11,1758426,-;text\n"),
        *(b"," + NOTICE + b"6,11,1758426,-;text\n", b"7.0.0" + NOTICE + b"6,11,1758426,-;text\n"),
        *(b"7.0.0," + NOTICE[:-1] + b"6,11,1758426,-;text\n", NOTICE[:-1], NOTICE[1:] + b"6,11,1758426,-;text\n"),
        *(b"6," + NOTICE + b"11,1758426,-;text\n", b"** 3 printk messages dropped **\n6,11,1758426,-;text\n"),
    ],
)
def test_notice_elsewhere(datagram: bytes) -> None:
    """With the notice in another place, twice, or without a header after it, a datagram is legacy text."""
    assert is_text(datagram)


def test_notice_in_the_body() -> None:
    """A record that quotes the notice is not a replay."""
    message = read(b"6,11,1758426,-;" + NOTICE)
    assert (message.replayed, message.text) == (False, "** replaying previous printk message **")


# The keys (rule 5).


@pytest.mark.parametrize(
    ("keys", "caller"),
    [
        (b"caller=T123", "T123"),
        (b"caller=C5", "C5"),
        (b"caller=T0", "T0"),
        (b"caller=T" + b"9" * 19, "T" + "9" * 19),
        (b"caller=T" + b"9" * 20, None),
        (b"x=y,caller=T1,z", "T1"),
        (b"caller=", None),
        (b"caller", None),
        (b"caller=T", None),
        (b"caller=t1", None),
        (b"caller=X1", None),
        (b"caller=T1x", None),
        (b"caller=T-1", None),
        (b"caller=12", None),
        (b"caller= T1", None),
        (b"Caller=T1", None),
        (b"xcaller=T1", None),
        (b"", None),
        (b",,,", None),
        (b"=", None),
        (b"key=value,other", None),
        (b"\xff=\0", None),
        (b"NCFRAG=0/1", None),
        (b"ncfrags=0/1", None),
    ],
)
def test_keys(keys: bytes, caller: str | None) -> None:
    """The caller is the number of a thread or processor; other and invalid keys are ignored."""
    message = read(b"6,416,1758426,-," + keys + b";hello\n")
    assert (message.caller, message.seq, message.text, message.emergency) == (caller, 416, "hello", False)


@pytest.mark.parametrize(("value", "emergency"), [(b"=1", True), (b"=0", False), (b"=", False), (b"", False)])
def test_emergency(value: bytes, emergency: bool) -> None:
    """``ncemg=1`` marks a message that a user-space sender sent again."""
    assert read(b"6,1,2,-,ncemg" + value + b";x\n").emergency == emergency
    assert piece(b"6,1,2,-,ncemg" + value + b",ncfrag=0/5;x\n").piece.emergency == emergency


# Fragments (rule 5 and docs/wire section 5).


@pytest.mark.parametrize(
    ("ncfrag", "size"),
    [
        (b"0/1", 1),
        (b"0/31", 31),
        (b"30/31", 1),
        (b"0/131072", 966),
        (b"%d/%d" % (TOTAL_LIMIT - 1, TOTAL_LIMIT), 1),
        (b"0000016/0000031", 15),
    ],
)
def test_fragment(ncfrag: bytes, size: int) -> None:
    """A fragment has an offset and the size of the body; totals of up to 128 KiB are accepted."""
    fragment = piece(b"7.0.0,6,416,1758426,c,caller=T1,ncfrag=" + ncfrag + b";" + b"x" * size)
    assert (fragment.offset, fragment.total) == tuple(int(number) for number in ncfrag.split(b"/"))
    header = fragment.piece
    assert (header.release, header.seq, header.ts_usec, header.caller) == ("7.0.0", 416, 1758426, "T1")
    assert (header.continuation, header.raw, header.received_at) == (True, b"x" * size, 12.5)


def test_fragment_has_no_msgid() -> None:
    """A line like a msgid at the end of a fragment is not the msgid, because the fragment can end anywhere."""
    assert piece(b"6,416,1758426,-,ncfrag=0/99;text\n msgid=1").piece.msgid is None


@pytest.mark.parametrize("keys", [b"ncfrag=0/31", b"ncfrag=0/31,caller=T1", b"x,ncfrag=0/31,y=z"])
def test_ncfrag_anywhere(keys: bytes) -> None:
    """``ncfrag`` can stand anywhere among the keys."""
    assert piece(b"6,1,2,-," + keys + b";x").total == 31


@pytest.mark.parametrize(
    "keys",
    [
        *(b"ncfrag=0/31,ncfrag=0/31", b"ncfrag=0/31,x=y,ncfrag=1/32", b"ncemg=1,ncemg=1", b"ncemg=0,ncemg=1"),
        *(b"ncemg,ncemg", b"ncfrag=", b"ncfrag", b"ncfrag=0", b"ncfrag=0/", b"ncfrag=/31", b"ncfrag=/"),
        *(b"ncfrag=0/31/31", b"ncfrag=-1/31", b"ncfrag=+0/31", b"ncfrag= 0/31", b"ncfrag=0/31 ", b"ncfrag=a/b"),
        *(b"ncfrag=0/0", b"ncfrag=0x0/31", b"ncfrag=00000000/31", b"ncfrag=0/00000031", b"ncfrag=0/131073"),
        *(b"ncfrag=0/9999999", b"ncfrag=31/31", b"ncfrag=30/31", b"ncfrag=9999999/31", b"ncfrag=0/1"),
    ],
)
def test_malformed(keys: bytes) -> None:
    """A header that repeats ncfrag or ncemg, or has an invalid ncfrag, is malformed."""
    for header in (b"6,416,1758426,-,", b"7.0.0,6,416,1758426,-,", NOTICE + b"6,416,1758426,-,"):
        with pytest.raises(Malformed):
            decode(header + keys + b";xy", SENDER, 0.0)


def test_empty_piece() -> None:
    """A fragment without bytes is malformed."""
    with pytest.raises(Malformed):
        decode(b"6,416,1758426,-,ncfrag=0/31;", SENDER, 0.0)


@pytest.mark.parametrize(
    "keys",
    [
        *(b"ncfrag=0/31", b"ncfrag=27/31", b"caller=T1,ncfrag=0/31", b"caller=C123,ncfrag=27/31"),
        *(b"caller=x,ncfrag=0/31", b"caller=,ncfrag=0/31", b"c,ncfrag=0/31", b"cpu=1,ncfrag=0/31"),
        *(b"ncfrag=0/31,ncemg=1", b"ncfrag=0/31,caller=T7", b"caller=T1,ncfrag=0/31,caller=T7"),
    ],
)
def test_the_usual_keys_of_a_fragment(keys: bytes) -> None:
    """A fragment whose keys are the usual ones, which are read in a shorter way, is the same as with a further key."""
    usual, longer = piece(b"6,11,1758426,-,%b;text" % keys), piece(b"6,11,1758426,-,x=y,%b;text" % keys)
    assert (usual.offset, usual.total, usual.piece) == (longer.offset, longer.total, longer.piece)


@pytest.mark.parametrize(
    "keys",
    [b"ncfrag=0/0", b"ncfrag=0/", b"ncfrag=/31", b"ncfrag=0/31/", b"ncfrag=28/31", b"ncfrag=0/%d" % (TOTAL_LIMIT + 1)],
)
@pytest.mark.parametrize("caller", [b"", b"caller=T1,"])
def test_an_invalid_ncfrag_is_malformed_with_a_caller(caller: bytes, keys: bytes) -> None:
    """An invalid ncfrag is malformed, whether a caller stands before it or not."""
    with pytest.raises(Malformed):
        decode(b"6,11,1758426,-,%b%b;text" % (caller, keys), SENDER, 0.0)
