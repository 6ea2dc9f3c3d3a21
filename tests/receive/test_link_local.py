"""Link-local senders are told apart by interface: the same address on two interfaces is two machines."""

from __future__ import annotations

import os
import pickle
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from netconsd.protocol.allowlist import AllowList
from netconsd.protocol.counters import WorkerCounters
from netconsd.protocol.message import Source, is_link_local, name_interfaces, with_scope, without_scope
from netconsd.protocol.table import SourceTable
from netconsd.receive.lanes import Workers
from netconsd.receive.recvfrom import Receiver as PlainReceiver
from netconsd.receive.sockets import scope_of, send_to
from netconsd.settings import Settings
from netconsd.testing import extended_message, source
from tests.support.loggers import batch, logging
from tests.support.receivers import together
from tests.support.scripted_lane import Delivered

WIRE = socket.inet_pton(socket.AF_INET6, "fe80::8")
LO = socket.if_nametoindex("lo")
# More than the numbers of a test machine's interfaces.
GONE = 987_654


# The sender.


def test_a_source_with_an_interface() -> None:
    """A link-local address has its interface; ``packed`` is the address on the wire."""
    sender = Source(WIRE, 6665, LO)
    assert (sender.address, sender.interface, sender.scope) == ("fe80::8%lo", "lo", LO)
    assert (sender.packed, sender.port) == (WIRE, 6665)
    assert sender == source("fe80::8%lo") == source(f"fe80::8%{LO}") == Source.from_key(sender.key)
    assert repr(sender) == "<Source fe80::8%lo port 6665>"


def test_the_same_address_on_two_interfaces() -> None:
    """The keys differ, and therefore the senders."""
    one, other, unknown = (Source(WIRE, 6665, scope) for scope in (2, 3, 0))
    assert len({one, other, unknown}) == len({one.key, other.key, unknown.key}) == 3
    assert one.key[4:8] == b"\0\0\0\2"
    assert (unknown.address, unknown.interface) == ("fe80::8", None)


def test_an_interface_without_a_name() -> None:
    """An interface that has been removed is shown as its number."""
    sender = Source(WIRE, 6665, GONE)
    assert (sender.address, sender.interface) == (f"fe80::8%{GONE}", str(GONE))


@pytest.mark.parametrize("address", ["192.0.2.7", "2001:db8::7", "::1", "fec0::1", "fe00::1", "ff02::1"])
def test_other_addresses_have_no_interface(address: str) -> None:
    """Addresses outside of fe80::/10 ignore the number of an interface."""
    sender = source(address)
    assert Source(sender.packed, 6665, 7) == sender
    assert (sender.interface, sender.scope, sender.address) == (None, 0, address)


@pytest.mark.parametrize("address", ["fe80::", "fe80::1", "febf:ffff::1"])
def test_the_network_of_link_local_addresses(address: str) -> None:
    """The network is fe80::/10."""
    packed = socket.inet_pton(socket.AF_INET6, address)
    assert is_link_local(packed)
    assert with_scope(packed, 258)[4:8] == b"\0\0\1\2"
    assert without_scope(with_scope(packed, 258)) == without_scope(packed)


def test_pickles_keep_the_interface() -> None:
    """A pickled sender, and the sender of a pickled message, keep their interface."""
    sender = source(f"fe80::8%{LO}")
    assert pickle.loads(pickle.dumps(sender)) == sender
    message = extended_message("x", address="fe80::8%lo")
    assert pickle.loads(pickle.dumps(message)).source.address == "fe80::8%lo"


def test_without_a_name_lookup_numbers_are_shown() -> None:
    """The pure room knows no interfaces; the room of the sockets gives it the lookup."""
    name_interfaces(str)
    try:
        assert Source(WIRE, 1, LO).address == f"fe80::8%{LO}"
    finally:
        name_interfaces(socket.if_indextoname)
    assert Source(WIRE, 1, LO).address == "fe80::8%lo"


def test_numbers_of_interfaces() -> None:
    """An interface is given by name or number; anything else is none."""
    texts = ("fe80::1%lo", f"fe80::1%{LO}", "fe80::1%987654", "fe80::1", "fe80::1%", "fe80::1%nosuch0", "fe80::1%²")
    assert [scope_of(text) for text in texts] == [LO, LO, GONE, 0, 0, 0, 0]
    assert scope_of("fe80::1%99999999999") == scope_of("fe80::1%\0") == 0


def test_the_lane_is_that_of_the_address() -> None:
    """The lane does not depend on the interface, whose number can change with every boot."""
    unused: Any = None
    workers = Workers(Delivered(), Settings(workers=7), reactor=unused)
    lanes = {workers.lane_for(Source(WIRE, 6665, scope).key[:16]).number for scope in range(100)}
    assert lanes == {workers.lane_for(WIRE).number}


# The plain receiver, with scripted addresses.


class ScriptedSocket:
    """Replaces a socket: each ``recvfrom`` is the next item of a list."""

    def __init__(self, *items: Any) -> None:
        self.items = list(items)

    def recvfrom(self, size: int) -> Any:
        if not self.items:
            raise BlockingIOError
        return self.items.pop(0)


def test_the_plain_receiver_tells_interfaces_apart() -> None:
    """The interface is the fourth element of the address; the flow is ignored, and the interface of other addresses."""
    addresses = [
        ("fe80::8%eth0", 5, 0, 2), ("fe80::8", 5, 9, 2), ("fe80::8", 5, 0, 3), ("2001:db8::8", 5, 0, 3),
        ("192.0.2.8", 5),
    ]  # fmt: skip
    scripted: Any = ScriptedSocket(*((b"x", address) for address in addresses))
    keys = [key for key, _ in together(PlainReceiver(scripted, 8, 1, 1).receive())]
    assert keys == [
        Source(WIRE, 5, 2).key, Source(WIRE, 5, 2).key, Source(WIRE, 5, 3).key, source("2001:db8::8", 5).key,
        source("192.0.2.8", 5).key,
    ]  # fmt: skip


def test_the_plain_receiver_allows_by_address() -> None:
    """``--allow`` with a link-local network, or one address of it, admits every interface."""
    scripted: Any = ScriptedSocket((b"x", ("fe80::8", 5, 0, 2)), (b"x", ("fe80::9", 5, 0, 2)))
    receiver = PlainReceiver(scripted, 8, 1, 1, AllowList(["fe80::8"]))
    assert [key for key, _ in together(receiver.receive())] == [Source(WIRE, 5, 2).key]


# What people see.


def test_files_and_lists_show_the_interface(tmp_path: Path) -> None:
    """The logger has a file for each interface, ``%`` in its name, and the list of senders shows it."""
    one, other = f"fe80::8%{LO}", f"fe80::8%{GONE}"
    with logging(tmp_path) as logger:
        logger.handle_batch(0, batch("one", address=one) + batch("two", address=other))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([f"fe80::8%{GONE}.log", "fe80::8%lo.log"])
    table = SourceTable(WorkerCounters(), limit=9, reorder_time=0.2, gc_interval=0.0, age=0.0)
    table.feed([source(one).key, source(other).key], [b"x\n", b"x\n"], 5.0, 0.0)
    assert {sender.address for sender in table.top(9, "datagrams")} == {"fe80::8%lo", other}


# Two real interfaces.


NAMESPACE = """
ip link set lo up
for pair in a b; do
    ip link add ${pair}0 type veth peer name ${pair}1
    for end in 0 1; do
        ip link set ${pair}$end addrgenmode none
        ip link set ${pair}$end up
        ip addr add fe80::$((end + 1))/64 dev ${pair}$end nodad
    done
done
exec "$@"
"""


def obstacle() -> str | None:
    """The reason why no network namespace with two interfaces can be made here; None if it works."""
    if os.geteuid() != 0:
        return "only root can create network namespaces"
    if not shutil.which("unshare") or not shutil.which("ip"):
        return "unshare or ip is missing"
    probe = in_namespace("true")
    return None if probe.returncode == 0 else f"no network namespace: {probe.stderr.strip()}"


def in_namespace(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a network namespace of its own, with a sender fe80::1 on each of two links to a fe80::2."""
    script = ["unshare", "--net", "sh", "-euc", NAMESPACE, "sh", *command]
    return subprocess.run(script, capture_output=True, text=True, check=False, timeout=60)


def talk() -> None:
    """In the namespace: both receivers receive from both senders, which get answers on their interfaces."""
    receivers: list[Any] = [PlainReceiver]
    try:
        from netconsd.receive._recvmmsg import Receiver

        receivers.append(Receiver)
    except ImportError:
        pass
    for make in receivers:
        for allowed in (AllowList(), AllowList(["fe80::1"])):
            exchange(make, allowed)


def exchange(make: Any, allowed: AllowList) -> None:
    """Send from fe80::1 on both links, with the same port, and send back to the keys."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as bound:
        bound.setblocking(False)
        bound.bind(("::", 0))
        port = bound.getsockname()[1]
        senders = []
        for interface in ("a0", "b0"):
            sender = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
            index = socket.if_nametoindex(interface)
            sender.bind(("fe80::1", 6665, 0, index))
            sender.settimeout(10)
            sender.sendto(interface.encode(), ("fe80::2", port, 0, index))
            senders.append(sender)
        receiver = make(bound, 8, 1, 7, allowed)
        pairs: list[tuple[bytes, bytes]] = []
        lanes = set()
        while len(pairs) < 2:
            by_lane = receiver.receive()
            lanes |= {lane for lane, (keys, _) in enumerate(by_lane) if keys}
            pairs += together(by_lane)
        found = {datagram: Source.from_key(key) for key, datagram in pairs}
        assert {datagram: one.address for datagram, one in found.items()} == {
            b"a0": "fe80::1%a1",
            b"b0": "fe80::1%b1",
        }
        assert {one.packed for one in found.values()} == {source("fe80::1").packed}
        assert len(lanes) == 1
        for datagram, one in found.items():
            assert send_to(bound, one.key, b"to " + datagram)
        for name, sender in zip((b"a0", b"b0"), senders, strict=True):
            assert sender.recv(100) == b"to " + name
            sender.close()


def test_senders_on_two_links() -> None:
    """Two machines with the same link-local address and port are two senders, and each gets its own answer."""
    reason = obstacle()
    if reason is not None:
        pytest.skip(reason)
    root = str(Path(__file__).parents[2])
    command = (
        f"import sys; sys.path.insert(0, {root!r}); from tests.receive import test_link_local; test_link_local.talk()"
    )
    done = in_namespace(sys.executable, "-c", command)
    assert done.returncode == 0, done.stderr
