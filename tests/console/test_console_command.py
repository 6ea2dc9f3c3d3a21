"""The command ``netconsd console`` and the module: options, refusals, TLS."""

from __future__ import annotations

import inspect
import io
import re
import ssl
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from zope.interface.verify import verifyObject

from netconsd.cli import console as command
from netconsd.cli import run
from netconsd.console.access import read_passwords
from netconsd.console.service import Configured
from netconsd.interfaces import ICheckable, IEventModule, IReloadable, IUsesNames, IUsesSnapshots
from netconsd.monitor.snapshot import Snapshot
from netconsd.names import Names
from netconsd.testing import event
from tests.console.secrets_of_tests import LINE, put

pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'netconsd[store]'")
from modules.console import ConsoleModule
from netconsd.console import receiver


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The options of ``netconsd run``, which does not run."""
    found: list[list[str]] = []

    def main(options: list[str], prog: str) -> int:
        found.append(options)
        return 0

    monkeypatch.setattr(run, "main", main)
    return found


def test_defaults(ran: list[list[str]]) -> None:
    """The command is the daemon with printer, store and console; other options are the daemon's."""
    assert command.main(["--port", "1515"]) == 0
    assert ran == [["--modules", "printer", "--modules", "store", "--modules", "console", "--port", "1515"]]


def test_options(ran: list[list[str]]) -> None:
    """Options become settings of the modules."""
    command.main(
        ["--quiet", "--store", "/s", "--listen", "[::1]:1", "--console-host", "a", "--console-host", "b.example"]
    )
    (options,) = ran
    assert options[:4] == ["--modules", "store", "--modules", "console"]
    settings = {text for name, text in pairwise(options) if name == "--set"}
    assert settings == {
        *("store.directory=/s", "console.directory=/s", "console.listen=[::1]:1", "console.hosts=a,b.example"),
    }


@pytest.mark.parametrize("options", [["--read-only", "--port", "1"], ["--hash-password", "--port", "1"]])
def test_options_that_exclude_each_other(options: list[str]) -> None:
    """An option of the daemon is refused where there is none."""
    with pytest.raises(SystemExit) as error:
        command.main(options)
    assert error.value.code == 2


def test_hashing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """--hash-password prints a line that the console takes."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("correct horse\n"))
    assert command.main(["--hash-password"]) == 0
    (password,) = read_passwords(put(tmp_path / "passwords", capsys.readouterr().out))
    assert password.matches("correct horse")
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n"))
    assert command.main(["--hash-password"]) == 2


def test_refusals(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A store that is none, and an address without a password, are refused with the option to change."""
    assert command.main(["--read-only", "--store", str(tmp_path)]) == 2
    assert "--store names the store" in capsys.readouterr().err
    assert command.main(["--read-only", "--listen", "0.0.0.0:1", "--store", str(tmp_path)]) == 2
    assert "--listen: other machines can reach" in capsys.readouterr().err


def test_the_names_of_a_store_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With --read-only the options for names, and the configuration, are those of `netconsd log`."""
    served: list[tuple[Configured, Names]] = []

    def serve(settings: Configured, names: Names, prog: str) -> int:
        served.append((settings, names))
        return 0

    monkeypatch.setattr(command, "_serve", serve)
    (tmp_path / "store" / "journal").mkdir(parents=True)
    hosts = put(tmp_path / "hosts", "192.0.2.7 web01\n")
    config = put(tmp_path / "netconsd.toml", '[module.store]\ndirectory = "store"\n')
    assert command.main(["--read-only", "--config", str(config), "--hosts-file", str(hosts), "--host-key", "node"]) == 0
    ((settings, names),) = served
    assert settings.directory == tmp_path / "store"
    assert (names.host_key, names.of_file()) == ("node", {"192.0.2.7": "web01"})


def test_it_is_a_module(tmp_path: Path) -> None:
    """The module has the methods of its interfaces, and starts only if it is named."""
    module = ConsoleModule(directory=tmp_path)
    for interface in (IEventModule, IReloadable, IUsesNames, IUsesSnapshots, ICheckable):
        verifyObject(interface, module)
    assert module.only_if_named


def test_every_setting_is_documented() -> None:
    """The page of the console and the example of a configuration have every setting."""
    settings = set(inspect.signature(ConsoleModule).parameters)
    docs = Path(__file__).parents[2] / "docs"
    example = (docs / "examples/netconsd.toml").read_text().partition("[module.console]\n")[2].partition("\n\n")[0]
    assert set(re.findall(r"^# ([a-z_]+) = ", example, re.MULTILINE)) == settings
    table = (docs / "console.rst").read_text().partition("\nsetting ")[2].partition("For other machines")[0]
    assert set(re.findall(r"^`([a-z_]+)` ", table, re.MULTILINE)) == settings


def test_settings() -> None:
    """A setting that is wrong is named."""
    with pytest.raises(ValueError, match=r"^listen: other machines"):
        ConsoleModule(listen="0.0.0.0:8514")
    with pytest.raises(ValueError, match=r"^listen: "):
        ConsoleModule(listen="x")


def test_check(tmp_path: Path) -> None:
    """`netconsd check` reads the files."""
    path = put(tmp_path / "passwords", "wrong")
    with pytest.raises(ValueError, match=r"^password_file: "):
        ConsoleModule(password_file=path, directory=tmp_path).check()
    put(path, LINE)
    ConsoleModule(password_file=path, directory=tmp_path).check()


def test_silent_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page of the receiver names silent machines until they are heard again; their number is bounded."""
    monkeypatch.setattr("netconsd.console.limits.SILENT", 2)
    module = ConsoleModule()
    module.use_snapshots(Snapshot)
    monkeypatch.setitem(vars(sys.modules[ConsoleModule.__module__]), "SILENT", 2)
    for number in range(4):
        module.handle_event(0, event("silent", "silent", address=f"192.0.2.{number}", received_at=100.0, seconds=10))
    module.handle_event(0, event("heard-again", "heard again", address="192.0.2.2", received_at=120.0))
    found: Any = module._receiver()
    assert [(each["address"], each["since"]) for each in found["silent"]] == [("192.0.2.3", 90.0)]


def test_quantiles() -> None:
    """A delay is the bound under which so many messages are; none without messages."""
    from netconsd.receive.histogram import Histogram

    delays = Histogram((0.1, 1.0))
    assert receiver.quantiles(delays) == {"p50": None, "p90": None, "p99": None}
    delays.observe(0.05, 60)
    delays.observe(0.5, 35)
    delays.observe(5.0, 5)
    assert receiver.quantiles(delays) == {"p50": 0.1, "p90": 1.0, "p99": None}


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate with its key."""
    pytest.importorskip("OpenSSL", reason="needs pyOpenSSL: pip install 'netconsd[tls]'")
    path = tmp_path_factory.mktemp("tls") / "console.pem"
    made = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-keyout", "-", "-out", "-"],
        capture_output=True, check=True,
    )  # fmt: skip
    path.write_bytes(made.stdout)
    return path


def test_tls(certificate: Path, tmp_path: Path) -> None:
    """A certificate is read at the start, and again; versions before TLS 1.2 are refused."""
    from twisted.internet.protocol import Factory
    from twisted.internet.protocol import Protocol as Connection
    from twisted.internet.testing import StringTransport
    from twisted.protocols.tls import TLSMemoryBIOFactory

    from netconsd.console.tls import context_factory

    context = context_factory(certificate)
    context.use(context.read())

    class Echo(Connection):
        def dataReceived(self, data: bytes) -> None:
            assert self.transport is not None
            self.transport.write(data)

    def shake(client: ssl.SSLContext) -> str | None:
        server = TLSMemoryBIOFactory(context, False, Factory.forProtocol(Echo)).buildProtocol(None)
        transport = StringTransport()
        server.makeConnection(transport)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        own = client.wrap_bio(incoming, outgoing, server_hostname="localhost")
        for _ in range(5):
            try:
                own.do_handshake()
                return own.version()
            except ssl.SSLWantReadError:
                server.dataReceived(outgoing.read())
                incoming.write(transport.value())
                transport.clear()
        return None

    client = ssl.create_default_context(cafile=str(certificate))
    assert shake(client) == "TLSv1.3"


@pytest.mark.parametrize("text", ["", "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n"])
def test_a_wrong_certificate(tmp_path: Path, text: str) -> None:
    """A file that is no certificate is refused, and so is one that does not exist."""
    pytest.importorskip("OpenSSL", reason="needs pyOpenSSL: pip install 'netconsd[tls]'")
    from netconsd.console.tls import context_factory

    with pytest.raises(ValueError, match=r"^certificate: .*console\.pem has no key"):
        context_factory(put(tmp_path / "console.pem", text))
    with pytest.raises(ValueError, match=r"^certificate: cannot read"):
        context_factory(tmp_path / "none.pem")
