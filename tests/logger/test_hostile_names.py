"""A name, from DNS or a hosts file, can at most select the file in the directory."""

from __future__ import annotations

import re
import tempfile
from io import BytesIO
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.names import dns

from netconsd.names import Names
from netconsd.testing import source
from tests.support.hostile import hostile_datagrams, is_printable_lines, messages_of
from tests.support.loggers import A, B, C, logged, logging
from tests.support.nameserver import ReadingReactor, Record, nameserver

SAFE = ("web1", "DB1.Example", "db1.example.", "a_b-c.example")
#: Paths, hidden files, options of commands, other hosts' files, and texts that are no names.
UNSAFE = (
    *("../../etc/passwd", "/etc/passwd", "a/b", "/", "..", ".", "...", "", ".hidden", "a/../../b", "..\\b", "~root"),
    *("-rf", "--help", "a b", "a\nb", "a\0b", "\0", "a\x1b[2Jb", "a\x7fb", "a\x85b", "a\u202eb", "a\u2028b", "\u017f"),
    *("web1.log.1", "web1.1", C, "2001:db8::1", "{host}", "{address}", "%s%n", "*", "$(id)", "`id`", ";id", "a" * 300),
    *("a" * 64, ".".join(["a" * 60] * 5), "a..b", "a.", "nul", "con", "é", "\u0130", "a#b", '"', "'", "\ufeffa"),
)
names = st.one_of(
    st.sampled_from(SAFE),
    st.sampled_from(UNSAFE),
    st.lists(st.sampled_from([*SAFE, *UNSAFE, "a", ".", "-", "/", "1"]), max_size=4).map("".join),
    st.text(max_size=12),
)


class ForgedRecords(dict[str, list[Record]]):
    """The DNS of an attacker with the address A: the name of A is given, and every name resolves to A."""

    def __init__(self, name: str) -> None:
        super().__init__({"1.2.0.192.in-addr.arpa": [("PTR", name, 600)]})

    def __missing__(self, name: str) -> list[Record]:
        return [("A", A, 600)]

    def get(self, name: str, default: object = None) -> list[Record]:
        return self[name]


def can_be_sent(name: str) -> bool:
    """Whether Twisted's codec, which splits at dots, can encode and decode the name."""
    try:
        encoded = BytesIO()
        dns.Name(name.encode()).encode(encoded)
        encoded.seek(0)
        decoded = dns.Name()
        decoded.decode(encoded)
    except (EOFError, ValueError):
        return False
    return bool(decoded.name == name.encode())


@given(in_dns=names.filter(can_be_sent), in_hosts=names, sent=hostile_datagrams())
def test_files_of_hosts_with_any_name(in_dns: str, in_hosts: str, sent: list[bytes]) -> None:
    """Every file is in the directory itself, with a safe name and no other address's name, and has one printable line
    per message."""
    sent.append(b"6,9,5,-;text\n")
    messages = [*messages_of(sent), *messages_of(sent, source(B).key)]
    reactor = ReadingReactor()
    with tempfile.TemporaryDirectory() as name, nameserver() as server:
        top = Path(name)
        hosts, directory = top / "hosts", top / "a" / "b"
        hosts.touch()
        server.records = ForgedRecords(in_dns)
        address = f"{server.address[0]}:{server.address[1]}"
        sender_names = Names("", hosts, address)
        with logging(directory, names=sender_names, name="{host}.log", reactor=reactor) as logger:
            logger.handle_batch(0, messages)
            hosts.write_bytes(f"{B} {in_hosts}\n".encode())
            with logged() as texts:
                sender_names.reload()
            reactor.run_calls()
            while server.answer():
                reactor.read()
            logger.handle_batch(0, messages)
            assert logger.dropped_by_error == 0
        paths = [path for path in top.rglob("*") if path not in (hosts, directory, directory.parent)]
        lines = b"".join(path.read_bytes() for path in paths)
    own = {f"{A}.log", f"{B}.log"}
    assert {path.parent for path in paths} <= {directory}
    for path in paths:
        assert path.name in own or re.fullmatch(r"[a-z0-9_][a-z0-9_.-]{0,127}\.log", path.name)
        assert path.name in own or not path.name[:-4].rpartition(".")[2].isdigit()
    assert is_printable_lines(lines.decode())
    assert lines.count(b"\n") == 2 * len(messages)
    for safe in {in_dns, in_hosts} & set(SAFE):
        assert safe.lower().removesuffix(".") + ".log" in {path.name for path in paths}
    assert all(text.isprintable() for text in texts)
