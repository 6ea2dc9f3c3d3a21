"""The names that the daemon sends to the console's processes: of the file and of DNS."""

from __future__ import annotations

from pathlib import Path

from twisted.internet.task import Clock

from netconsd.console import limits
from netconsd.console.naming import Naming, Sent
from netconsd.logger.hostnames import DnsName, NameCache
from netconsd.names import Names
from tests.console.stores import T0


def test_dns_is_asked_for_machines_that_are_shown(tmp_path: Path) -> None:
    """A machine that a page shows is asked for once; its name is sent when it is known. The file's name comes first."""
    hosts = tmp_path / "hosts"
    hosts.write_text("192.0.2.8 db08\n")
    names = Names("host", hosts, "192.0.2.53:53")
    names.read()
    asked: list[str] = []
    names._cache = NameCache(lambda address, answered: asked.append(address), 100)
    clock = Clock()
    naming = Naming(names, clock.seconds, lambda: T0 + clock.seconds())
    sent = Sent(naming)
    assert sent.changes() == {"192.0.2.8": "db08"}
    for _ in range(2):
        naming.shown(["192.0.2.7", "192.0.2.8"])
    assert asked == ["192.0.2.7"]
    names._cache.answered("192.0.2.7", DnsName("web07.example.com", 60.0))
    assert sent.changes() == {}
    clock.advance(limits.NAMES_SECONDS)
    assert sent.changes() == {"192.0.2.7": "web07.example.com"}
    clock.advance(limits.NAMES_SECONDS)
    known = naming.known()
    clock.advance(limits.NAMES_SECONDS)
    assert naming.known() is known
    # Another process gets all.
    assert Sent(naming).changes() == {"192.0.2.7": "web07.example.com", "192.0.2.8": "db08"}


def test_without_dns_nobody_is_asked() -> None:
    """Without --reverse-dns, machines that are shown are not looked up, and there is nothing to send."""
    naming = Naming(Names(), lambda: 0.0, lambda: T0)
    naming.shown(["192.0.2.7"])
    assert Sent(naming).changes() == {}
