"""The module syslog with the real rsyslog and syslog-ng (.ci/install-servers)."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from netconsd.outputs.loader import load
from netconsd.outputs.setting_types import ModuleSetting
from netconsd.testing import crash_report, event, extended_message, legacy_message
from tests.support.servers import (
    SERVERS,
    ServerProcess,
    certificate,
    free_port,
    libraries,
    listens,
    program,
    running,
    until,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

RSYSLOG = """
global(workDirectory="{directory}" {tls})
module(load="imtcp" {driver})
module(load="imudp")
module(load="mmpstrucdata")
template(name="t" type="string" string="{fields}\\n")
template(name="parsed" type="string" string="%$!%\\n")
ruleset(name="r") {{
  action(type="mmpstrucdata")
  action(type="omfile" file="{parsed}" template="parsed")
  action(type="omfile" file="{out}" template="t")
}}
input(type="imtcp" port="{port}" address="127.0.0.1" ruleset="r")
input(type="imudp" port="{port}" address="127.0.0.1" ruleset="r")
"""

T0 = 1_795_000_000.123456
FIELDS = "%pri%|%timestamp:::date-rfc3339%|%hostname%|%app-name%|%procid%|%msgid%|%structured-data%|%msg%"

SYSLOG_NG = """@version: 3.35
options {{ keep-hostname(yes); use-dns(no); stats-freq(0); }};
source s {{
  network(ip("127.0.0.1") port({port}) transport("{transport}") flags(syslog-protocol) {tls});
  network(ip("127.0.0.1") port({port}) transport("udp") flags(syslog-protocol));
}};
destination d {{
  file("{out}" template("$PRI|$ISODATE|$HOST|$PROGRAM|$PID|$MSGID|$SDATA|$MSG\\n"));
}};
log {{ source(s); destination(d); }};
"""


class SyslogServer(ServerProcess):
    """rsyslog or syslog-ng, which writes a line for each message."""

    def __init__(self, directory: Path, name: str, transport: str) -> None:
        self.port = free_port()
        self.out = directory / "out"
        #: The structured data as rsyslog's fields.
        self.parsed = directory / "parsed"
        self.certificate: Path | None = None
        configuration = directory / "conf"
        shared = {"directory": directory, "out": self.out, "parsed": self.parsed, "port": self.port}
        key = Path()
        if transport == "tls":
            self.certificate, key = certificate(directory)
        if name == "rsyslog":
            path = program("rsyslogd")
            tls, driver = "", ""
            if self.certificate is not None:
                tls = (
                    f'defaultNetstreamDriver="ossl" defaultNetstreamDriverCAFile="{self.certificate}" '
                    f'defaultNetstreamDriverCertFile="{self.certificate}" defaultNetstreamDriverKeyFile="{key}"'
                )
                driver = 'streamDriver.name="ossl" streamDriver.mode="1" streamDriver.authMode="anon"'
            configuration.write_text(RSYSLOG.format(**shared, tls=tls, driver=driver, fields=FIELDS))
            modules = next(SERVERS.rglob("imtcp.so")).parent
            command = [str(path), "-n", "-f", str(configuration), "-i", str(directory / "pid"), "-M", str(modules)]
        else:
            path = program("syslog-ng")
            tls, kind = "", "tcp"
            if self.certificate is not None:
                tls = f'tls(key-file("{key}") cert-file("{self.certificate}") peer-verify(optional-untrusted))'
                kind = "tls"
            # network() with octet counting: the protocol of RFC 6587 is that of the driver syslog().
            text = SYSLOG_NG.format(**shared, tls=tls, transport=kind)
            text = text.replace("  network(", "  syslog(", 1).replace(" flags(syslog-protocol)", "", 1)
            configuration.write_text(text)
            modules = next(SERVERS.rglob("libafsocket.so")).parent
            command = [
                *(str(path), "-F", "--no-caps", "-f", str(configuration), "-R", str(directory / "persist")),
                *("-p", str(directory / "pid"), "-c", str(directory / "control"), "--module-path", str(modules)),
            ]
        super().__init__(command, directory / "log", listens(self.port), libraries())

    def lines(self) -> list[str]:
        """Return the lines that it wrote."""
        return self.out.read_text(errors="replace").splitlines() if self.out.exists() else []


@pytest.fixture(params=["rsyslog", "syslog-ng"])
def name(request: pytest.FixtureRequest) -> str:
    """The name of a server."""
    found: str = request.param
    return found


@pytest.fixture
def server_of(tmp_path: Path, name: str) -> Iterator[Callable[[str], SyslogServer]]:
    """Return a function that starts a server for a transport."""
    with ExitStack() as stack:

        def start(transport: str) -> SyslogServer:
            directory = tmp_path / "server"
            directory.mkdir()
            server = SyslogServer(directory, name, transport)
            stack.enter_context(running(server))
            return server

        yield start


@pytest.fixture
def stream(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Return a function that returns a module that was started for a server."""
    modules: list[Any] = []

    def start(server: SyslogServer, transport: str) -> Any:
        values: dict[str, object] = {
            "host": "localhost" if transport == "tls" else "127.0.0.1", "port": server.port, "transport": transport,
            "directory": str(tmp_path / "stream"), "batch_seconds": "0.05s",
        }  # fmt: skip
        if server.certificate is not None:
            values["ca_file"] = str(server.certificate)
        typed = {key: ModuleSetting(value, key, tmp_path) for key, value in values.items()}
        module = load(["syslog"], {"syslog": typed}).loaded[0].module
        module.start(1)
        modules.append(module)
        return module

    yield start
    for module in modules:
        module.finish()


def number(module: Any, name: str) -> float:
    """Return a metric of the module."""
    found: float = next(metric.value for metric in module.metrics() if metric.name == f"stream_{name}")
    return found


@pytest.mark.parametrize("transport", ["tcp", "tls", "udp"])
def test_every_field_arrives(
    server_of: Callable[[str], SyslogServer], stream: Callable[..., Any], transport: str
) -> None:
    """Header, structured data and text are as they were sent: forged lines and quotes are not."""
    server = server_of(transport)
    module = stream(server, transport)
    now = 1_795_000_000.123456
    text = 'evil "]\\ \n<0>1 2026-01-01T00:00:00Z forged - - - - x \x1b[31m usb 1-1: x é'
    module.handle_batch(
        0, [
            extended_message(
                text, seq=417, level=3, ts_usec=10**6, caller="T9", received_at=now, userdata={"rack": 'a]"b'}
            ),
            legacy_message("usb 1-1: new device", received_at=now, address="2001:db8::7"),
        ],
    )  # fmt: skip
    module.handle_report(0, crash_report(received_at=now))
    module.handle_event(0, event(received_at=now, how="crash"))
    until(lambda: len(server.lines()) == 4, "four lines")
    module.finish()
    lines = {line.split("|")[5] + line.split("|")[2]: line for line in server.lines()}
    pri, at, host, app, process, kind, data, shown = lines["message192.0.2.1"].split("|", 7)
    assert (pri, host, app, process, kind) == ("3", "192.0.2.1", "kernel", "T9", "message")
    assert at.startswith("2026-11-18T")
    assert 'id="192.0.2.1/1794999999/417"' in data
    assert 'seq="417"' in data
    assert '[userdata@32473 rack="a\\]\\"b"]' in data
    assert shown.strip().startswith('evil "]\\ \\x0a<0>1 2026')
    assert shown.endswith("\\x1b[31m usb 1-1: x é")
    pri, _, host, _, _, _, _, shown = lines["message2001:db8::7"].split("|", 7)
    assert (pri, shown.strip()) == ("4", "usb 1-1: new device")
    pri, _, _, app, _, _, data, shown = lines["report192.0.2.1"].split("|", 7)
    assert (pri, app) == ("3", "netconsd")
    assert 'report="memory-fault"' in data
    assert '[details@32473 how="crash"]' in lines["event192.0.2.1"]
    assert number(module, "sent_records") == 4


def test_each_key_of_the_userdata_arrives(
    server_of: Callable[[str], SyslogServer], stream: Callable[..., Any], name: str
) -> None:
    """Names that syslog does not have, or that differ by capitals, do not replace each other in the server's fields."""
    server = server_of("tcp")
    module = stream(server, "tcp")
    keys = {"rack": "a", "Rack": "b", "x y": "c", "k" * 40: "d", "é": "e"}
    module.handle_batch(0, [extended_message("odd", seq=1, received_at=T0, userdata=keys)])
    until(lambda: len(server.lines()) == 1, "a line")
    (line,) = server.lines()
    data = line.split("|")[6] if name == "syslog-ng" else server.parsed.read_text()
    for value in ("a", "Rack=b", "x y=c", "k" * 40 + "=d", "é=e"):
        assert f'"{value}"' in data


def test_killed_while_messages_arrive(server_of: Callable[[str], SyslogServer], stream: Callable[..., Any]) -> None:
    """Killed under load, down for a while, and started again: every message is there. Syslog cannot tell a second
    copy: those of the last seconds before the kill can be there twice, with the same id."""
    server = server_of("tcp")
    module = stream(server, "tcp")

    def give(first: int, last: int) -> None:
        for seq in range(first, last, 100):
            module.handle_batch(
                0, [extended_message(f"line {n}", seq=n, received_at=time.time()) for n in range(seq, seq + 100)]
            )

    give(0, 5000)
    until(lambda: len(server.lines()) == 5000, "the first messages")
    # What is acknowledged by the kernel and not read dies with the server.
    server.pause()
    give(5000, 5100)
    until(lambda: module._reported["queued"] == 5100, "the batch of the hanging server")
    server.kill()
    give(5100, 10_000)
    until(lambda: number(module, "retried_batches") > 0, "a retry")
    server.start()
    until(lambda: any("line 9999" in line for line in server.lines()), "the last message")
    module.finish()
    counted = Counter(line.rpartition("line ")[2] for line in server.lines())
    assert set(map(str, range(10_000))) <= set(counted)
    assert number(module, "sent_records") == number(module, "queued_records") == 10_000


def test_a_long_message_is_cut_once(
    server_of: Callable[[str], SyslogServer], stream: Callable[..., Any], name: str
) -> None:
    """A message that the server would cut, or close the connection for, is cut here, and says how long it was."""
    server = server_of("tcp")
    module = stream(server, "tcp")
    module.handle_batch(0, [extended_message("x" * 70_000, seq=1), extended_message("next", seq=2)])
    until(lambda: len(server.lines()) == 2, "two lines")
    module.finish()
    first, second = server.lines()
    assert 'text_bytes="70000"' in first
    assert first.endswith("x" * 7000)
    assert second.endswith("next")
