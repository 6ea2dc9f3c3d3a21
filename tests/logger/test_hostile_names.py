"""Whoever names a machine, in DNS or in a file of hosts, chooses at most which file in the directory is written."""

from __future__ import annotations

import re
import tempfile
from io import BytesIO
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.names import dns

from netconsd.testing import source
from tests.modules.test_hostile_output import datagrams, harmless, received
from tests.support.loggers import A, B, C, logging, said
from tests.support.nameserver import Readers, Record, nameserver
from tests.support.strategies import examples

GOOD = ("web1", "DB1.Example", "db1.example.", "a_b-c.example")
#: What leaves the directory, hides in it, is an option to a command, another machine's file, or none at all.
BAD = (
    *("../../etc/passwd", "/etc/passwd", "a/b", "/", "..", ".", "...", "", ".hidden", "a/../../b", "..\\b", "~root"),
    *("-rf", "--help", "a b", "a\nb", "a\0b", "\0", "a\x1b[2Jb", "a\x7fb", "a\x85b", "a\u202eb", "a\u2028b", "\u017f"),
    *("web1.log.1", "web1.1", C, "2001:db8::1", "{host}", "{address}", "%s%n", "*", "$(id)", "`id`", ";id", "a" * 300),
    *("a" * 64, ".".join(["a" * 60] * 5), "a..b", "a.", "nul", "con", "é", "\u0130", "a#b", '"', "'", "\ufeffa"),
)
names = st.one_of(
    st.sampled_from(GOOD),
    st.sampled_from(BAD),
    st.lists(st.sampled_from([*GOOD, *BAD, "a", ".", "-", "/", "1"]), max_size=4).map("".join),
    st.text(max_size=12),
)


class Claims(dict[str, list[Record]]):
    """DNS in the hands of who holds A: it has that name, and whatever name is asked for, the address is A."""

    def __init__(self, name: str) -> None:
        super().__init__({"1.2.0.192.in-addr.arpa": [("PTR", name, 600)]})

    def __missing__(self, name: str) -> list[Record]:
        return [("A", A, 600)]

    def get(self, name: str, default: object = None) -> list[Record]:
        return self[name]


def can_be_sent(name: str) -> bool:
    """Whether Twisted's codec, which cuts at dots, can send it; it takes whatever comes."""
    try:
        encoded = BytesIO()
        dns.Name(name.encode()).encode(encoded)
        encoded.seek(0)
        read = dns.Name()
        read.decode(encoded)
    except (EOFError, ValueError):
        return False
    return bool(read.name == name.encode())


@examples(100)
@given(in_dns=names.filter(can_be_sent), in_hosts=names, sent=datagrams())
def test_the_files_of_machines_with_any_name(in_dns: str, in_hosts: str, sent: list[bytes]) -> None:
    """Every file is in the directory itself, with a name of letters, digits and dots, and nobody's else; in them is a
    printable line for each message."""
    sent.append(b"6,9,5,-;text\n")
    messages = [*received(sent), *received(sent, source(B).key)]
    reactor = Readers()
    with tempfile.TemporaryDirectory() as name, nameserver() as server:
        top = Path(name)
        hosts, directory = top / "hosts", top / "a" / "b"
        hosts.touch()
        server.records = Claims(in_dns)
        where = f"{server.address[0]}:{server.address[1]}"
        with logging(directory, hosts=hosts, reverse_dns=where, reactor=reactor) as logger:
            logger.handle_batch(0, messages)
            hosts.write_bytes(f"{B} {in_hosts}\n".encode())
            with said() as words:
                logger.reload()
            reactor.turn()
            while server.answer():
                reactor.read()
            logger.handle_batch(0, messages)
            assert logger.lost_lines == 0
        made = [path for path in top.rglob("*") if path not in (hosts, directory, directory.parent)]
        lines = b"".join(path.read_bytes() for path in made)
    own = {f"{A}.log", f"{B}.log"}
    assert {path.parent for path in made} <= {directory}
    for path in made:
        assert path.name in own or re.fullmatch(r"[a-z0-9_][a-z0-9_.-]{0,127}\.log", path.name)
        assert path.name in own or not path.name[:-4].rpartition(".")[2].isdigit()
    assert harmless(lines.decode())
    assert lines.count(b"\n") == 2 * len(messages)
    for good in {in_dns, in_hosts} & set(GOOD):
        assert good.lower().removesuffix(".") + ".log" in {path.name for path in made}
    assert all(word.isprintable() for word in words)
