"""Host names: which may stand in a file name, the file of them, and what is remembered of DNS."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netconsd.logger import hostnames
from netconsd.logger.hostnames import ASKED_LIMIT, RETRY, Found, HostNames, HostsError, parse_hosts
from netconsd.logger.names import Naming
from netconsd.logger.template import HOST_LIMIT, host_name
from tests.support.nameserver import Readers

A, B = "192.0.2.1", "192.0.2.2"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Web1.Example.", "web1.example"),
        ("a", "a"),
        ("_x.b-c", "_x.b-c"),
        ("1and1.example", "1and1.example"),
        ("x" * 63, "x" * 63),
        (".".join(["x" * 31] * 4), ".".join(["x" * 31] * 4)),
        ("x" * 64, None),
        (".".join(["x" * 32] * 4), None),
        ("", None),
        (".", None),
        ("..", None),
        ("a..b", None),
        ("-a", None),
        ("a-", None),
        ("a/b", None),
        ("a b", None),
        ("a\n", None),
        ("a{port}", None),
        ("192.0.2.1", None),
        ("web1.2", None),
        ("2001:db8::1", None),
        ("bücher.example", None),
        ("\u0131.example", None),
    ],
)
def test_host_names(text: str, name: str | None) -> None:
    """Letters, digits, hyphens and underscores in labels; nothing that is, or looks like, a path or an address."""
    assert host_name(text) == name


@given(st.text() | st.from_regex(r"[a-z0-9._\-A-Z]{1,140}", fullmatch=True))
def test_what_is_a_host_name_is_safe(text: str) -> None:
    """Whatever the text, what comes out is one file name of ASCII that is no path, hidden file or address."""
    name = host_name(text)
    if name is not None:
        assert name == Path(name).name
        assert name.isascii() and name.isprintable() and " " not in name and name == name.lower()
        assert not name.startswith((".", "-"))
        assert 0 < len(name) <= HOST_LIMIT
        assert not name.rpartition(".")[2].isdigit()


def test_the_file() -> None:
    """The first name of the first line of an address counts; comments and aliases do not."""
    text = (
        "# the fleet\n"
        "192.0.2.1\tWeb1.example web1 www # our best\n"
        "\n"
        "192.0.2.1 other\n"
        "2001:DB8:0::7 six\r\n"
        "fe80::1%eth0 link\n"
        "::ffff:192.0.2.2 mapped"
    )
    assert parse_hosts(text, "f") == {
        "192.0.2.1": "web1.example",
        "2001:db8::7": "six",
        "fe80::1": "link",
        "192.0.2.2": "mapped",
    }


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("web1 192.0.2.1", 'f:2: "web1" is not an IPv4 or IPv6 address'),
        ("192.0.2.1 # web1", "f:2: has an address and no name"),
        ("192.0.2.1 ../x", 'f:2: "../x" is not a host name: '),
    ],
)
def test_a_wrong_line(line: str, wrong: str) -> None:
    """A line that is not an address and a name is refused with its number."""
    with pytest.raises(HostsError) as caught:
        parse_hosts(f"# first\n{line}\n", "f")
    assert str(caught.value).startswith(wrong)


class Asked:
    """Keeps what is asked for."""

    def __init__(self, limit: int = 100) -> None:
        self.questions: list[str] = []
        self.names = HostNames(self.ask, limit)

    def ask(self, address: str, answered: Callable[[str, Found | None], None]) -> None:
        assert answered == self.names.answered
        self.questions.append(address)


def test_a_name_that_becomes_known() -> None:
    """An address is asked for once; until an answer is let in between two batches, it is its own name."""
    asked = Asked()
    names = asked.names
    assert [names.name(A, 0.0), names.name(A, 0.0)] == [A, A]
    names.answered(A, Found("web1", 300))
    assert names.name(A, 1.0) == A
    names.begin(1.0)
    assert names.name(A, 1.0) == "web1"
    assert asked.questions == [A]


def test_a_name_that_gets_old() -> None:
    """After its time a name is asked for again, and used until the answer is there; no name is an answer, too."""
    asked = Asked()
    names = asked.names
    names.name(A, 0.0)
    names.answered(A, Found("web1", 300))
    names.begin(0.0)
    assert names.name(A, 299.0) == "web1"
    assert asked.questions == [A]
    assert [names.name(A, 300.0), names.name(A, 301.0)] == ["web1", "web1"]
    assert asked.questions == [A, A]
    names.answered(A, Found(None, 300))
    names.begin(302.0)
    assert names.name(A, 302.0) == A


def test_nobody_knows() -> None:
    """When nobody could tell, the last name stays, and a message after a minute makes us ask again."""
    asked = Asked()
    names = asked.names
    names.name(A, 0.0)
    names.answered(A, Found("web1", 300))
    names.begin(0.0)
    names.name(A, 300.0)
    names.answered(A, None)
    names.begin(300.0)
    assert [names.name(A, 300.0 + RETRY - 1), names.name(A, 300.0 + RETRY)] == ["web1", "web1"]
    assert asked.questions == [A] * 3


def test_the_table_is_bounded() -> None:
    """A flood of addresses forgets those that were used longest ago; who is heard of now and then stays."""
    asked = Asked(limit=10)
    names = asked.names
    for host in range(100):
        address = f"10.0.0.{host}"
        names.name(address, 0.0)
        names.answered(address, Found(f"host{host}", 300))
        names.begin(0.0)
        assert names.name("10.0.0.0", 0.0) == "host0"
    assert len(names) == 10
    names.answered("10.0.0.50", Found("late", 300))
    names.begin(0.0)
    assert len(names) == 10


def test_questions_are_bounded() -> None:
    """A flood of new addresses asks so many questions at a time, and takes no place in the table beyond them."""
    asked = Asked(limit=100_000)
    names = asked.names
    flood = [f"10.0.{host // 256}.{host % 256}" for host in range(1000)]
    for address in flood:
        assert names.name(address, 0.0) == address
    assert asked.questions == flood[:ASKED_LIMIT]
    assert len(names) == ASKED_LIMIT
    names.answered(flood[0], Found("web1", 300))
    names.begin(0.0)
    assert names.name(flood[-1], 0.0) == flood[-1]
    assert asked.questions[ASKED_LIMIT:] == [flood[-1]]
    assert names.name(flood[0], 0.0) == "web1"


def test_bounds() -> None:
    """All workers together remember 65,536 addresses, and each waits for 128 answers at most."""
    assert (hostnames.CACHE_LIMIT, ASKED_LIMIT) == (65536, 128)


@pytest.mark.parametrize(
    "spec", ["", "dns.example", "192.0.2.53:", "192.0.2.53:0", "192.0.2.53:65536", "[::1]", "[::1]:", "[::1]:x", "::1:"]
)
def test_what_is_no_server(spec: str) -> None:
    """A server is an address with or without a port; all else is refused with what was said."""
    with pytest.raises(ValueError, match=r"^reverse_dns: .* is neither"):
        Naming(None, spec)


@pytest.mark.parametrize("spec", ["system", "192.0.2.53", "192.0.2.53:5353", "::1", "[::1]:5353"])
def test_what_is_a_server(spec: str) -> None:
    """The system's servers, or an address of either family, with or without a port."""
    Naming(None, spec)


def test_servers_are_reread(tmp_path: Path) -> None:
    """After a reload the system's servers are those that its file has then; without the file, the machine itself."""
    resolv_conf = tmp_path / "resolv.conf"
    reactor = Readers()
    naming = Naming(None, "system", resolv_conf=resolv_conf)
    naming.start(1, reactor)
    assert naming.servers == [("127.0.0.1", 53)]
    resolv_conf.write_text("nameserver 192.0.2.53\n")
    naming.reload()
    assert naming.servers == [("192.0.2.53", 53)]
    naming.stop()


def test_workers_share_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many workers there are, they remember as much together as one would alone."""
    monkeypatch.setattr("netconsd.logger.names.CACHE_LIMIT", 8)
    naming = Naming(None, "192.0.2.53")
    naming.start(4, Readers())
    for worker in range(4):
        for host in range(9):
            naming.name(worker, f"10.0.{worker}.{host}", 0.0)
    assert naming.remembered == 8
    naming.stop()
