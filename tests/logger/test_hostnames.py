"""Host names: the safe ones, the hosts file, and the cache of names from DNS."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netconsd.logger.hostnames import LOOKUPS_LIMIT, RETRY, DnsName, HostsError, NameCache, parse_hosts
from netconsd.logger.template import HOST_LIMIT, host_name
from netconsd.names import Names
from netconsd.settings import ConfigError, Settings
from tests.support.nameserver import ReadingReactor

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
    """A safe name has labels of letters, digits, hyphens and underscores, and is no path or address."""
    assert host_name(text) == name


@given(st.text() | st.from_regex(r"[a-z0-9._\-A-Z]{1,140}", fullmatch=True))
def test_host_names_are_safe(text: str) -> None:
    """For any text, the result is an ASCII file name that is no path, hidden file or address, or None."""
    name = host_name(text)
    if name is not None:
        assert name == Path(name).name
        assert name.isascii() and name.isprintable() and " " not in name and name == name.lower()
        assert not name.startswith((".", "-"))
        assert 0 < len(name) <= HOST_LIMIT
        assert not name.rpartition(".")[2].isdigit()


def test_hosts_file() -> None:
    """The name of an address is the first name of its first line; comments and aliases are ignored."""
    text = (
        "# the fleet\n"
        "192.0.2.1\tWeb1.example web1 www # our best\n"
        "\n"
        "192.0.2.1 other\n"
        "2001:DB8:0::7 six\r\n"
        "fe80::1%eth0 link\n"
        "fe80::2 everywhere\n"
        "::ffff:192.0.2.2 mapped"
    )
    assert parse_hosts(text, "f") == {
        "192.0.2.1": "web1.example",
        "2001:db8::7": "six",
        "fe80::1%eth0": "link",
        "fe80::2": "everywhere",
        "192.0.2.2": "mapped",
    }


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("web1 192.0.2.1", 'f:2: "web1" is not an IPv4 or IPv6 address'),
        ("192.0.2.1 # web1", "f:2: has an address and no name"),
        ("192.0.2.1 ../x", 'f:2: "../x" is not a host name: '),
    ],
)
def test_malformed_lines(line: str, error: str) -> None:
    """A line that is not an address and a name is an error with the number of the line."""
    with pytest.raises(HostsError) as caught:
        parse_hosts(f"# first\n{line}\n", "f")
    assert str(caught.value).startswith(error)


class Lookups:
    """A cache, and the addresses that it looked up."""

    def __init__(self, limit: int = 100) -> None:
        self.addresses: list[str] = []
        self.names = NameCache(self.look_up, limit)

    def look_up(self, address: str, answered: Callable[[str, DnsName | None], None]) -> None:
        assert answered == self.names.answered
        self.addresses.append(address)


def test_an_answer_is_used_from_the_next_batch() -> None:
    """An address is looked up once, and its name is used from the first batch after the answer."""
    lookups = Lookups()
    names = lookups.names
    assert [names.name(A, 0.0), names.name(A, 0.0)] == [A, A]
    names.answered(A, DnsName("web1", 300))
    assert names.name(A, 1.0) == A
    names.begin(1.0)
    assert names.name(A, 1.0) == "web1"
    assert lookups.addresses == [A]


def test_an_expired_name() -> None:
    """An expired name is looked up again and used until the answer arrives; "no name" is also an answer."""
    lookups = Lookups()
    names = lookups.names
    names.name(A, 0.0)
    names.answered(A, DnsName("web1", 300))
    names.begin(0.0)
    assert names.name(A, 299.0) == "web1"
    assert lookups.addresses == [A]
    assert [names.name(A, 300.0), names.name(A, 301.0)] == ["web1", "web1"]
    assert lookups.addresses == [A, A]
    names.answered(A, DnsName(None, 300))
    names.begin(302.0)
    assert names.name(A, 302.0) == A


def test_no_answer() -> None:
    """Without an answer the last name stays, and a message after a minute starts another lookup."""
    lookups = Lookups()
    names = lookups.names
    names.name(A, 0.0)
    names.answered(A, DnsName("web1", 300))
    names.begin(0.0)
    names.name(A, 300.0)
    names.answered(A, None)
    names.begin(300.0)
    assert [names.name(A, 300.0 + RETRY - 1), names.name(A, 300.0 + RETRY)] == ["web1", "web1"]
    assert lookups.addresses == [A] * 3


def test_the_cache_is_bounded() -> None:
    """A flood of addresses evicts the least recently used ones; an address in use stays."""
    lookups = Lookups(limit=10)
    names = lookups.names
    for host in range(100):
        address = f"10.0.0.{host}"
        names.name(address, 0.0)
        names.answered(address, DnsName(f"host{host}", 300))
        names.begin(0.0)
        assert names.name("10.0.0.0", 0.0) == "host0"
    assert len(names._entries) == 10
    names.answered("10.0.0.50", DnsName("late", 300))
    names.begin(0.0)
    assert len(names._entries) == 10


def test_lookups_are_bounded() -> None:
    """A flood of new addresses starts 128 lookups at a time, and takes no cache entries beyond."""
    lookups = Lookups(limit=100_000)
    names = lookups.names
    flood = [f"10.0.{host // 256}.{host % 256}" for host in range(1000)]
    for address in flood:
        assert names.name(address, 0.0) == address
    assert lookups.addresses == flood[:LOOKUPS_LIMIT]
    assert len(names._entries) == LOOKUPS_LIMIT
    names.answered(flood[0], DnsName("web1", 300))
    names.begin(0.0)
    assert names.name(flood[-1], 0.0) == flood[-1]
    assert lookups.addresses[LOOKUPS_LIMIT:] == [flood[-1]]
    assert names.name(flood[0], 0.0) == "web1"


@pytest.mark.parametrize(
    "spec", ["", "dns.example", "192.0.2.53:", "192.0.2.53:0", "192.0.2.53:65536", "[::1]", "[::1]:", "[::1]:x", "::1:"]
)
def test_malformed_servers(spec: str) -> None:
    """A text that is not an address with or without a port is an error that names the text."""
    with pytest.raises(ConfigError, match=r"^reverse_dns: .* is neither system nor "):
        Settings(reverse_dns=spec)


@pytest.mark.parametrize("spec", ["system", "192.0.2.53", "192.0.2.53:5353", "::1", "[::1]:5353"])
def test_valid_servers(spec: str) -> None:
    """``system`` and an address of either family, with or without a port, are accepted."""
    assert Settings(reverse_dns=spec).reverse_dns == spec
    Names(reverse_dns=spec)


def test_reload_reads_the_servers(tmp_path: Path) -> None:
    """A reload reads resolv.conf; without the file, the server is 127.0.0.1."""
    resolv_conf = tmp_path / "resolv.conf"
    names = Names(reverse_dns="system", resolv_conf=resolv_conf)
    names.start(ReadingReactor())
    assert names._dns is not None and names._dns.servers == [("127.0.0.1", 53)]
    resolv_conf.write_text("nameserver 192.0.2.53\n")
    assert names.reload() == [str(resolv_conf)]
    assert names._dns.servers == [("192.0.2.53", 53)]
    names.stop()
