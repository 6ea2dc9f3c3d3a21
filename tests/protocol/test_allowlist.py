"""--allow admits exactly the addresses of its networks."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netconsd.protocol.allowlist import EVERYONE, NETWORKS_LIMIT, AllowList, read_network
from netconsd.settings import ConfigError, Settings
from netconsd.testing import source

ipv4 = st.integers(0, 2**32 - 1).map(ipaddress.IPv4Address)
ipv6 = st.integers(0, 2**128 - 1).map(ipaddress.IPv6Address)
networks = st.one_of(
    st.tuples(ipv4, st.integers(0, 32)).map(lambda pair: ipaddress.IPv4Network(pair, strict=False)),
    st.tuples(ipv6, st.integers(0, 128)).map(lambda pair: ipaddress.IPv6Network(pair, strict=False)),
)


@given(st.lists(networks, min_size=1, max_size=5), st.data())
def test_exactly_the_addresses_of_the_networks(allowed: list[ipaddress.IPv4Network], data: st.DataObject) -> None:
    """An address is admitted if and only if it is in one of the networks, according to Python's library."""
    near = [network[index] for network in allowed for index in (0, -1)]
    address = data.draw(st.one_of(ipv4, ipv6, st.sampled_from(near)))
    expected = any(address in network for network in allowed)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return
    assert AllowList(map(str, allowed)).admits(source(str(address)).packed) is expected


def test_an_empty_list_admits_all() -> None:
    """An empty list admits all senders."""
    assert EVERYONE.admits(source("192.0.2.1").packed)
    assert EVERYONE.admits(source("2001:db8::1").packed)


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("192.0.2.7", "192.0.2.7/32"),
        ("192.0.2.0/255.255.255.0", "192.0.2.0/24"),
        ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
        ("::ffff:0:0/96", "0.0.0.0/0"),
        ("2001:db8::", "2001:db8::/128"),
    ],
)
def test_networks(text: str, network: str) -> None:
    """An address is a network of one address; IPv4 within IPv6 is IPv4."""
    assert str(read_network(text)) == network


@pytest.mark.parametrize("text", ["", "localhost", "192.0.2", "192.0.2.0/33", "fe80::1%eth0", "192.0.2.1/24", "::1/64"])
def test_not_a_network(text: str) -> None:
    """A name, an incomplete address, an interface or a wrong mask is an error that quotes the text."""
    with pytest.raises(ValueError, match=f"^{text!r} "):
        read_network(text)


def test_the_list_is_bounded() -> None:
    """More than NETWORKS_LIMIT networks are an error."""
    fits = tuple(f"10.0.{number}.0/24" for number in range(NETWORKS_LIMIT))
    assert Settings(allow=fits).allow == fits
    with pytest.raises(ConfigError, match=r"^allow: 257 networks are more than 256; use larger ones$"):
        Settings(allow=(*fits, "192.0.2.1"))
