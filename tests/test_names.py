"""The names of senders: userdata, the file of names and reverse DNS, for people and for the names of files."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from zope.interface import implementer

from netconsd import names as names_module
from netconsd.daemon.config import configure
from netconsd.interfaces import IOutputModule, IUsesNames
from netconsd.logger.hostnames import HostsError
from netconsd.names import Names
from netconsd.outputs.runner import Outputs
from netconsd.protocol.message import LegacyMessage, Message, Source
from netconsd.service import NetconsdService
from netconsd.settings import ConfigError, Settings
from netconsd.testing import RecordingModule, extended_message, legacy_message, source
from tests.support.hostile import hostile_datagrams, messages_of
from tests.support.loggers import logged
from tests.support.nameserver import ReadingReactor, nameserver

A = "192.0.2.1"


class Shared(Source):
    """A sender whose address has several senders."""

    shared = True


class LinkLocal(Source):
    """A sender of a link-local address on eth0."""

    address = "fe80::1%eth0"


def named(host: str, *, port: int = 6665, key: str = "host") -> Message:
    """Return a message of A whose userdata has a name."""
    return extended_message("text", address=A, port=port, userdata={key: host})


def with_file(tmp_path: Path, text: str, **settings: Any) -> Names:
    """Return names that have read a file."""
    path = tmp_path / "hosts"
    path.write_text(text)
    names = Names(hosts_file=path, **settings)
    names.read()
    return names


def test_a_sender_without_a_name() -> None:
    """Without a name, a sender is its address."""
    names = Names()
    for message in (extended_message("text"), legacy_message("text")):
        assert names.sender(message) == names.host(message) == A
        assert names.all_of(message) == [A]
    assert names.known(A, 6665, 0.0) == ""


def test_a_name_of_the_userdata() -> None:
    """The name that a sender chose is shown beside its address."""
    names = Names()
    assert names.sender(named("Web01.example")) == f"web01.example@{A}"
    assert names.host(named("web01")) == "web01"
    assert names.all_of(named("web01")) == [A, "web01"]


def test_the_key_of_the_userdata() -> None:
    """Another key can have the name, or none."""
    assert Names("node").sender(named("web01", key="node")) == f"web01@{A}"
    assert Names("node").sender(named("web01")) == A
    assert Names("").sender(named("web01")) == A


def test_a_name_of_the_file(tmp_path: Path) -> None:
    """The administrator's name replaces the address; a name of the userdata stands beside it."""
    names = with_file(tmp_path, f"{A} db1\n")
    assert names.sender(legacy_message("text")) == "db1"
    assert names.sender(named("web01")) == "web01@db1"
    assert names.all_of(named("web01")) == [A, "web01", "db1"]


def test_ports_of_several_senders(tmp_path: Path) -> None:
    """Where an address has several senders, the port is shown with and without names."""
    for names, message, shown in (
        (Names(), legacy_message("text"), f"{A}:44501"),
        (Names(), named("web01"), f"web01@{A}:44501"),
        (with_file(tmp_path, f"{A} gateway\n"), named("web01"), "web01@gateway:44501"),
    ):
        message._source = Shared(source(A).packed, 44501)
        assert names.sender(message) == shown


def test_link_local_senders(tmp_path: Path) -> None:
    """The file can name a link-local address on one interface or on all; DNS is not asked."""
    message = LegacyMessage(LinkLocal(source("fe80::1").packed, 1), 0.0, b"text\n")
    assert with_file(tmp_path, "fe80::1 everywhere\nfe80::1%eth0 first\n").sender(message) == "first"
    names = with_file(tmp_path, "fe80::1 everywhere\nfe80::1%eth1 second\n", reverse_dns="192.0.2.53")
    reactor = ReadingReactor()
    names.start(reactor)
    assert names.sender(message) == "everywhere"
    assert with_file(tmp_path, "", reverse_dns="192.0.2.53").sender(message) == "fe80::1%eth0"
    assert reactor.from_threads == []
    names.stop()


def test_names_of_dns() -> None:
    """A verified name of DNS replaces the address from the first message after the answer."""
    reactor = ReadingReactor()
    with nameserver() as server:
        server.records = {"1.2.0.192.in-addr.arpa": [("PTR", "db1.example", 600)], "db1.example": [("A", A, 600)]}
        names = Names(reverse_dns=f"{server.address[0]}:{server.address[1]}")
        names.start(reactor)
        assert names.sender(legacy_message("text")) == A
        reactor.run_calls()
        while server.answer():
            reactor.read()
        assert names.sender(legacy_message("text")) == "db1.example"
        assert names.known(A, 1, 0.0) == "db1.example"
        names.stop()
    assert reactor.readers == []
    assert reactor.getDelayedCalls() == []


def test_learned_names() -> None:
    """The name of the last message of a batch is remembered for its sender, and not for other ports."""
    names = Names()
    names.learn([named("web02", port=2), named("web01", port=1)])
    assert [names.known(A, port, 0.0) for port in (1, 2)] == ["web01", ""]
    assert names.sender(extended_message("text", port=1)) == f"web01@{A}"
    names.learn([extended_message("text", port=1)])
    names.learn([legacy_message("text", port=1)])
    assert names.known(A, 1, 0.0) == "web01"
    names.learn([named("web03", port=1)])
    assert names.known(A, 1, 0.0) == "web03"


def test_learned_names_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """65,536 names are remembered at most, whatever senders are forged; the one learned first is forgotten."""
    assert names_module.CLAIMS_LIMIT == 65536
    monkeypatch.setattr(names_module, "CLAIMS_LIMIT", 10)
    names = Names()
    for port in range(100):
        names.learn([named(f"host{port}x", port=port)])
    assert len(names._claims) == 10
    assert [names.known(A, port, 0.0) for port in (89, 90, 99)] == ["", "host90x", "host99x"]


def test_several_threads_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads that learn at the same time keep the bound and raise nothing."""
    monkeypatch.setattr(names_module, "CLAIMS_LIMIT", 3)
    names = Names()
    errors: list[BaseException] = []

    def learn(first: int) -> None:
        try:
            for port in range(first, first + 500):
                names.learn([named("x", port=port)])
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=learn, args=[1000 * number]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(names._claims) == 3


UNSAFE = [
    "../../etc/passwd",
    "a/b",
    "a b",
    "a\nb",
    "\x1b[2Ja",
    "\u202egpj",
    "a@b",
    "192.0.2.9",
    "x" * 129,
    "",
    "é",
    "a:1",
]


@pytest.mark.parametrize("host", UNSAFE)
def test_unsafe_names(host: str) -> None:
    """A name that is no host name is ignored: it could end a column or a line, or be a path or another address."""
    assert Names().sender(named(host)) == A
    assert Names().host(named(host)) == A


@given(sent=hostile_datagrams(), host=st.text() | st.binary().map(repr))
def test_names_are_safe(sent: list[bytes], host: str) -> None:
    """For any datagrams, the sender is one printable word, and the host is a safe part of a file's name."""
    names = Names()
    for message in [*messages_of(sent), named(host)]:
        names.learn([message])
        shown = names.sender(message)
        assert shown.isprintable() and " " not in shown and len(shown) < 200
        assert shown.rpartition("@")[2] == message.source.address
        assert "/" not in names.host(message) and not names.host(message).startswith(".")


def test_a_missing_file(tmp_path: Path) -> None:
    """A file that cannot be read, or is no text, is an error that names it."""
    for path, error in ((tmp_path / "gone", "cannot read"), (tmp_path, "cannot read"), (tmp_path / "x", "")):
        if not error:
            path.write_bytes(b"\xff")
        with pytest.raises(HostsError) as caught:
            Names(hosts_file=path).read()
        assert str(caught.value).startswith(f"{error} {path}" if error else f"{path}: is not UTF-8")


def test_a_reload(tmp_path: Path) -> None:
    """A reload reads the file and says so; a malformed file is logged, and the previous names stay."""
    names = with_file(tmp_path, f"{A} db1\n")
    path = tmp_path / "hosts"
    path.write_text(f"{A} db2\n")
    with logged() as texts:
        assert names.reload() == [str(path)]
    assert texts == [f"1 name from {path}"]
    path.write_text("x\n")
    with logged() as texts:
        assert names.reload() == []
    assert texts[0].startswith(f"--hosts-file: {path}:1: ")
    assert names.sender(legacy_message("text")) == "db2"
    assert Names().reload() == []


def test_the_file_of_names_in_the_service(tmp_path: Path) -> None:
    """The service reads the file before it binds, and again at a reload; a missing file is an error of the option."""
    path = tmp_path / "hosts"
    service = NetconsdService({}, Settings(hosts_file=str(path)))
    with pytest.raises(ConfigError, match=rf"^hosts_file: cannot read {path}: No such file or directory$"):
        service.privilegedStartService()
    assert service.port == 0
    path.write_text(f"{A} db1\n")
    service.reload()
    assert service._names.sender(legacy_message("text")) == "db1"


def test_modules_get_the_names() -> None:
    """A module with IUsesNames gets the names before its start, if there are any; other modules start as before."""

    @implementer(IOutputModule, IUsesNames)
    class Shows(RecordingModule):
        names: Any = None

        def use_names(self, names: Names) -> None:
            assert self.worker_count is None, "start is the next call"
            self.names = names

    for names in (Names(), None):
        shows = Shows()
        outputs = Outputs({"shows": shows, "other": RecordingModule()}, 1, names=names)
        unused: Any = None
        Deferred.fromCoroutine(outputs.start(unused))
        assert len(outputs.started) == 2
        assert shows.names is names


def test_paths_are_absolute(tmp_path: Path) -> None:
    """A relative path is relative to the working directory on the command line, and to the file in a file."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/n.toml").write_text('hosts-file = "names"\n')
    assert configure({"hosts-file": "names"}, cwd=tmp_path).settings.hosts_file == f"{tmp_path}/names"
    assert configure({}, config="etc/n.toml", cwd=tmp_path).settings.hosts_file == f"{tmp_path}/etc/names"


@pytest.mark.parametrize(
    "settings",
    [
        *({"host_key": "a b"}, {"host_key": "a=b"}, {"host_key": "a\n"}, {"host_key": None}),
        *({"hosts_file": ""}, {"hosts_file": "a\0"}, {"hosts_file": 3}),
    ],
    ids=str,
)
def test_wrong_settings(settings: dict[str, Any]) -> None:
    """A key that no userdata can have, and what is no path, are errors that name the setting."""
    with pytest.raises(ConfigError, match=f"^{next(iter(settings))}: "):
        Settings(**settings)
