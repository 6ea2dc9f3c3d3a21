"""Queries compared with plain Python over the same messages, in stores of small row groups, merged and damaged."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from fnmatch import fnmatchcase
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netconsd.protocol.message import Message
from netconsd.store import layout
from netconsd.store.journal import Journal
from netconsd.testing import extended_message, legacy_message

pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'netconsd[store]'")
import pyarrow as pa
import pyarrow.compute as pc

from netconsd.store import Store, compactor, index, query, segment
from netconsd.store.compactor import Compactor
from netconsd.store.query import smart_case
from netconsd.store.reader import Stored

T0 = 1_795_859_200.0
#: Addresses with the name that their messages have, or none.
HOSTS = {
    "192.0.2.1": "web01",
    "192.0.2.2": "Web02",
    "192.0.2.77": "",
    "198.51.100.1": "db-1",
    "2001:db8::1": "db-2",
    "2001:db8::2": "",
}
# k and s have other cases that are not ASCII; the dotless i has none in ASCII.
WORDS = [
    "disk",
    "di\u017fk",
    "dis\u212a",
    "task",
    "TASK",
    "eth0",
    "Eth1",
    "é",
    "É",
    "x",
    "link",
    "\u017f",
    "\u0131nk",
    "0",
]
RELEASES = [None, "7.3", "7.3.4", "7.30", "7.3-rc1", "6.12.1-amd64"]

texts = st.lists(st.sampled_from(WORDS), max_size=4).flatmap(
    lambda words: st.sampled_from([" ", "", "-"]).map(lambda between: between.join(words))
)


@st.composite
def messages(draw: st.DrawFn) -> list[list[Message]]:
    """Return the messages of parts of a journal."""
    found: list[list[Message]] = []
    seq = 0
    at = T0
    for _ in range(draw(st.integers(1, 5))):
        part: list[Message] = []
        for _ in range(draw(st.integers(1, 25))):
            seq += 1
            # Often equal, sometimes before the last one.
            at += draw(st.sampled_from([0, 0, 0.000_001, 1, 30, 100, -50]))
            host = draw(st.sampled_from(list(HOSTS)))
            text = draw(texts)
            if not HOSTS[host] and draw(st.booleans()):
                prefix = draw(st.sampled_from(["", "<3>", "<12>"]))
                part.append(legacy_message(f"{prefix}{text}", address=host, received_at=at))
                continue
            userdata = {"host": HOSTS[host], "rack": draw(st.sampled_from("abc"))} if HOSTS[host] else {}
            part.append(
                extended_message(
                    text,
                    address=host,
                    port=draw(st.sampled_from([6665, 6666])),
                    received_at=at,
                    seq=seq,
                    level=draw(st.integers(0, 7)),
                    release=draw(st.sampled_from(RELEASES)),
                    userdata=userdata,
                    ts_usec=seq * 1000,
                    boot=draw(st.integers(0, 9)) == 0,
                )
            )
        found.append(part)
    return found


pieces = st.one_of(
    st.sampled_from(WORDS),
    st.sampled_from(["k+", "s?", "(disk|eth0)", "[k-s]", "(?i:T)ask", ".", "$", "^", r"\b", "i{2}", "a{0,1}", r"\x6b"]),
    st.sampled_from([r"\d", r"\pL", "|", r"\Qx\E", "(?P<Name>k)", r"[^]|]", "(?:a|b|)", "s*k", r"\-", "(t(a)s)?k"]),
)
patterns = st.one_of(
    st.lists(pieces, min_size=1, max_size=4).map("".join),
    st.lists(pieces, max_size=3).map(lambda x: "(?i)" + "".join(x)),
)


def matches(pattern: str, text: str, ignore_case: bool | None) -> bool:
    """Return whether RE2 finds an expression in this text alone."""
    alike = smart_case(pattern) if ignore_case is None else ignore_case
    return bool(pc.match_substring_regex(pa.array([text]), pattern, ignore_case=alike)[0].as_py())


def is_expression(pattern: str) -> bool:
    """Return whether RE2 takes an expression."""
    try:
        matches(pattern, "", None)
    except pa.ArrowInvalid:
        return False
    return True


patterns = patterns.filter(is_expression)
hosts = st.one_of(
    st.sampled_from(list(HOSTS)),
    st.sampled_from(["192.0.2.0/24", "2001:db8::/127", "::ffff:192.0.2.1", "192.0.2.9", "0.0.0.0/0", "192.0.2.1/24"]),
    st.sampled_from(["web*", "WEB01", "db-?", "192.*", "*::1", "rack=a", "rack=[bc]", "host=db-2", "none", "rack="]),
)
times = st.one_of(
    st.none(), st.sampled_from([0, 0.000_001, 1, 2, 30, 31, 60, 100, 500, 1000, -50]).map(lambda s: T0 + s)
)
queries = st.fixed_dictionaries(
    {},
    optional={
        "since": times,
        "until": times,
        "hosts": st.lists(hosts, min_size=1, max_size=3),
        "level": st.integers(0, 7),
        "grep": patterns,
        "exclude": patterns,
        "ignore_case": st.sampled_from([None, True, False]),
        "boot": st.sampled_from([0, 0, -1, -2, 1]),
        "release": st.sampled_from(["7.3", "7", "7.3*", "*amd64", "8", "7.3.4"]),
        "limit": st.integers(0, 30),
        "newest_first": st.booleans(),
    },
)


@contextmanager
def stored(parts: Sequence[Sequence[Message]], segments: int, merged: bool) -> Iterator[Path]:
    """Write a store: the first parts are in a segment each, or all in one; the others are in the journal."""
    with ExitStack() as stack:
        for module in (segment, compactor):
            stack.enter_context(mock.patch.object(module, "GROUP_ROWS", 8))
        stack.enter_context(mock.patch.object(index, "NEWEST_ROWS", 5))
        stack.enter_context(mock.patch.object(query, "BATCH_ROWS", 3))
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (directory / layout.JOURNAL).mkdir()
        made = Compactor(directory)
        made.recover()
        for number, part in enumerate(parts):
            journal = Journal(
                directory / layout.JOURNAL,
                1,
                first_number=number + 1,
                part_bytes=1 << 30,
                part_seconds=9,
                most_bytes=1 << 40,
            )
            journal.append(0, list(part))
            journal.close()
            if number < segments:
                assert made.compact()
        names = [file.name for file in layout.segment_files(directory)]
        if merged and len(names) > 1:
            with mock.patch.object(made, "_to_merge", return_value=names):
                made.merge()
            assert len(layout.segment_files(directory)) == 1
        yield directory


def is_of(message: Message, host: str) -> bool:
    """Return whether a message is of a host of a query."""
    key, equals, value = host.partition("=")
    if equals:
        userdata = getattr(message, "userdata", {})
        return key in userdata and fnmatchcase(userdata[key], value)
    address = message.source.address
    try:
        network = ip_network(host, strict=False)
    except ValueError:
        return fnmatchcase(address, host.lower()) or fnmatchcase(HOSTS[address].lower() or "\0", host.lower())
    if "/" not in host:
        return ip_address(address) == (getattr(ip_address(host), "ipv4_mapped", None) or ip_address(host))
    return ip_address(address) in network


def of_release(release: str | None, wanted: str) -> bool:
    """Return whether a release is that of a query."""
    if release is None:
        return False
    if "*" in wanted:
        return fnmatchcase(release, wanted)
    return release.startswith(wanted) and not release[len(wanted) :][:1].isdigit()


def filtered(everything: list[Stored], conditions: dict[str, Any]) -> list[Stored]:
    """Return what a query has to find, by looking at each message."""
    boots: dict[tuple[str, int], set[int]] = {}
    for each in everything:
        boots.setdefault((each.message.source.address, each.message.source.port), set()).add(each.boot)

    def is_wanted(each: Stored) -> bool:
        message = each.message
        at = round(message.received_at * 1e6)
        since, until = conditions.get("since"), conditions.get("until")
        alike = conditions.get("ignore_case")
        if (since is not None and at < round(since * 1e6)) or (until is not None and at > round(until * 1e6)):
            return False
        if "hosts" in conditions and not any(is_of(message, host) for host in conditions["hosts"]):
            return False
        if "level" in conditions and (message.level is None or message.level > conditions["level"]):
            return False
        if "grep" in conditions and not matches(conditions["grep"], message.text, alike):
            return False
        if "exclude" in conditions and matches(conditions["exclude"], message.text, alike):
            return False
        if "boot" in conditions:
            boot = conditions["boot"]
            ids = sorted(boots[message.source.address, message.source.port])
            if each.boot != (boot if boot > 0 else ids[boot - 1] if len(ids) > -boot else None):
                return False
        return "release" not in conditions or of_release(getattr(message, "release", None), conditions["release"])

    found = [each for each in everything if is_wanted(each)]
    limit = conditions.get("limit")
    if limit is not None:
        found = found[len(found) - limit :] if limit < len(found) else found
    return found[::-1] if conditions.get("newest_first") else found


def compare(parts: list[list[Message]], segments: int, merged: bool, asked: list[dict[str, Any]]) -> None:
    """Compare a store with its messages, then the answers of queries with those of plain Python."""
    with stored(parts, segments, merged) as directory:
        damage: list[str] = []
        store = Store(directory, damaged=lambda text, _: damage.append(text))
        everything = list(store.messages())

        def shown(message: Message) -> tuple[Any, ...]:
            return round(message.received_at * 1e6), message.source.address, message.raw, message.text

        written = [message for part in parts for message in part]
        assert sorted(shown(each.message) for each in everything) == sorted(map(shown, written))
        found = [round(each.message.received_at * 1e6) for each in everything]
        assert found == sorted(found)
        for conditions in asked:
            since, until = conditions.get("since"), conditions.get("until")
            if since is not None and until is not None and since > until:
                conditions["since"], conditions["until"] = until, since
            assert list(store.messages(**conditions)) == filtered(everything, conditions), conditions
            counted = {
                key: conditions[key] for key in conditions if key not in ("limit", "newest_first", "since", "until")
            }
            expected = filtered(everything, counted)
            assert sum(count for _, _, count in store.counts(**counted)) == len(expected)
        assert not damage


@given(
    parts=messages(), segments=st.integers(0, 5), merged=st.booleans(), asked=st.lists(queries, min_size=6, max_size=6)
)
@settings(max_examples=20)
def test_answers_are_those_of_plain_python(
    parts: list[list[Message]], segments: int, merged: bool, asked: list[dict[str, Any]]
) -> None:
    """Every condition and combination, with limits and both orders, in segments, merged ones, and the journal."""
    compare(parts, segments, merged, asked)


@pytest.mark.slow
@given(
    parts=messages(),
    segments=st.integers(0, 5),
    merged=st.booleans(),
    asked=st.lists(queries, min_size=30, max_size=30),
)
@settings(max_examples=40)
def test_many_answers_are_those_of_plain_python(
    parts: list[list[Message]], segments: int, merged: bool, asked: list[dict[str, Any]]
) -> None:
    """The same with more stores and queries."""
    compare(parts, segments, merged, asked)
