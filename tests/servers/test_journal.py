"""The module journal with the real systemd-journal-remote and journald (.ci/install-servers); journalctl reads."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from netconsd.outputs.loader import load
from netconsd.outputs.setting_types import ModuleSetting
from netconsd.testing import crash_report, event, extended_message, legacy_message
from tests.support.servers import SERVERS, ServerProcess, certificate, free_port, libraries, listens, running, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

T0 = 1_795_000_000.123456

#: journald sees directories of the test as the system's. It neither reads this machine's log nor audits.
JOURNALD = """
set -e
mount --bind {directory}/etc /etc/systemd
mount --bind {directory}/run /run
exec {program}
"""


def systemd(path: str) -> tuple[str, dict[str, str]]:
    """Return a program of systemd with its environment, or skip the test."""
    found = SERVERS / path
    if not found.exists():
        pytest.skip(f"needs {path}: bash .ci/install-servers")
    environment = libraries()
    private = next(SERVERS.rglob("libsystemd-shared-*.so")).parent
    return str(found), {**environment, "LD_LIBRARY_PATH": f"{private}:{environment['LD_LIBRARY_PATH']}"}


def entries(directory: Path, *more: str) -> list[dict[str, Any]]:
    """Return the entries of the journals of a directory, in the order in which journalctl shows them."""
    program, environment = systemd("bin/journalctl")
    command = [program, "-D", str(directory), "-o", "json", "-a", "--no-pager", *more]
    done = subprocess.run(command, env=environment, capture_output=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


class JournalRemote(ServerProcess):
    """systemd-journal-remote, which writes to files of one journal."""

    def __init__(self, directory: Path, *, limit: int | None = None, certificate: tuple[Path, Path] | None = None):
        program, environment = systemd("lib/systemd/systemd-journal-remote")
        self.port = free_port()
        self.out = directory / "journals"
        self.out.mkdir()
        command = [program, f"--output={self.out}/all.journal", "--split-mode=none"]
        self.url = f"http://127.0.0.1:{self.port}"
        if certificate is None:
            command.append(f"--listen-http=127.0.0.1:{self.port}")
        else:
            self.url = f"https://localhost:{self.port}"
            command.append(f"--listen-https=127.0.0.1:{self.port}")
            command += [f"--cert={certificate[0]}", f"--key={certificate[1]}"]
        if limit is not None:
            # A small disk, which only this process sees.
            mount = f"mount -t tmpfs -o size={limit} journals {self.out}; exec {' '.join(command)}"
            command = ["unshare", "-m", "bash", "-c", mount]
        super().__init__(command, directory / "log", listens(self.port), environment)

    def entries(self, *more: str) -> list[dict[str, Any]]:
        """Return the entries that it has."""
        return entries(self.out, *more)


class Journald(ServerProcess):
    """journald, which takes records at its socket."""

    def __init__(self, directory: Path) -> None:
        program, environment = systemd("lib/systemd/systemd-journald")
        if os.geteuid() != 0 or shutil.which("unshare") is None:
            pytest.skip("needs root, to run journald in a namespace of its own")
        if not Path("/etc/machine-id").exists() or not Path("/etc/systemd").is_dir():
            pytest.skip("needs /etc/machine-id and /etc/systemd")
        (directory / "etc").mkdir()
        (directory / "etc/journald.conf").write_text("[Journal]\nStorage=volatile\nAudit=no\nReadKMsg=no\n")
        (directory / "run/systemd/journal").mkdir(parents=True)
        self.out = directory / "run/log/journal"
        self.socket = directory / "run/systemd/journal/socket"
        script = JOURNALD.format(directory=directory, program=program)
        command = ["unshare", "-m", "bash", "-c", script]
        super().__init__(command, directory / "log", self.socket.exists, environment)

    def entries(self, *more: str) -> list[dict[str, Any]]:
        """Return the entries that it has."""
        return entries(self.out, *more) if self.out.exists() else []


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A server's directory."""
    path = tmp_path / "server"
    path.mkdir()
    return path


@pytest.fixture
def remote(directory: Path) -> Iterator[JournalRemote]:
    """A running systemd-journal-remote."""
    server = JournalRemote(directory)
    with running(server):
        yield server


@pytest.fixture
def journald(directory: Path) -> Iterator[Journald]:
    """A running journald."""
    server = Journald(directory)
    with running(server):
        yield server


@pytest.fixture
def stream(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Return a function that returns a started module."""
    modules: list[Any] = []

    def start(*, workers: int = 1, **settings: object) -> Any:
        values = {"directory": str(tmp_path / "stream"), "batch_seconds": "0.05s", **settings}
        typed = {name: ModuleSetting(value, name, tmp_path) for name, value in values.items()}
        module = load(["journal"], {"journal": typed}).loaded[0].module
        module.start(workers)
        modules.append(module)
        return module

    yield start
    for module in modules:
        module.finish()


def number(module: Any, name: str) -> float:
    """Return a metric of the module."""
    found: float = next(metric.value for metric in module.metrics() if metric.name == f"stream_{name}")
    return found


def give(module: Any, first: int, last: int) -> None:
    """Hand messages to a module."""
    now = time.time()
    module.handle_batch(
        0, [extended_message(f"line {seq}", seq=seq, ts_usec=seq, received_at=now) for seq in range(first, last)]
    )


def give_hard_ones(module: Any) -> None:
    """Hand a module what a machine, or a stranger, can send."""
    module.handle_batch(
        0, [
            extended_message("plain", seq=1, ts_usec=10**6, received_at=T0, userdata={"rack": "r7", "a-b": "c"}),
            extended_message("", seq=2, ts_usec=2 * 10**6, received_at=T0 + 1),
            extended_message("any uptime", seq=3, ts_usec=1 << 62, received_at=T0 + 2, address="192.0.2.2"),
            extended_message("a\nMESSAGE=b\x1b é", seq=4, ts_usec=3 * 10**6, received_at=T0 + 3),
            extended_message("y" * 500_000, seq=5, ts_usec=4 * 10**6, received_at=T0 + 4),
            legacy_message("<3>legacy", received_at=T0 + 5, address="2001:db8::7"),
            extended_message("many", seq=6, ts_usec=0, received_at=T0 + 6, userdata={f"k{n}": "v" for n in range(960)}),
        ],
    )  # fmt: skip
    module.handle_report(0, crash_report(received_at=T0 + 7))
    module.handle_event(0, event(received_at=T0 + 8, how="crash"))


def test_every_record_arrives(remote: JournalRemote, stream: Callable[..., Any]) -> None:
    """Everything that is sent is in the journal, with every field, although 202 promises nothing."""
    module = stream(url=remote.url)
    give_hard_ones(module)
    until(lambda: number(module, "sent_records") == 9, "nine records")
    found = {entry["NETCONSD_ID"].rpartition("192.0.2.1/1794999999/")[2]: entry for entry in remote.entries()}
    assert len(found) == 9
    first = found["1"]
    assert (first["MESSAGE"], first["_TRANSPORT"], first["_HOSTNAME"]) == ("plain", "kernel", "192.0.2.1")
    assert (first["__REALTIME_TIMESTAMP"], first["__MONOTONIC_TIMESTAMP"]) == ("1795000000123456", "1000000")
    assert (first["NETCONSD_USERDATA_RACK"], first["NETCONSD_USERDATA_PAIR"]) == ("r7", "a-b=c")
    assert first["_BOOT_ID"] == found["2"]["_BOOT_ID"]
    assert found["4"]["MESSAGE"] == "a\\x0aMESSAGE=b\\x1b é"
    assert len(found["5"]["MESSAGE"]) == 500_000
    assert found["6"]["NETCONSD_USERDATA_K959"] == "v"
    boots = {entry["_BOOT_ID"] for entry in remote.entries()}
    assert len(boots) == 4
    report = next(entry for entry in found.values() if entry["NETCONSD_KIND"] == "report")
    assert report["NETCONSD_LINES"].count("\n") > 5
    shown = remote.entries("_TRANSPORT=kernel", "_HOSTNAME=192.0.2.2")
    assert [entry["MESSAGE"] for entry in shown] == ["any uptime"]
    assert [entry["MESSAGE"] for entry in remote.entries(f"_BOOT_ID={first['_BOOT_ID']}")][:2] == ["plain", ""]


def test_what_it_drops(remote: JournalRemote, stream: Callable[..., Any]) -> None:
    """It answers 202 to an entry without a time, and drops fields in lower case: the reasons of the module's rules."""
    http = type(stream(url=remote.url))(url=remote.url)._http
    fields = b"__MONOTONIC_TIMESTAMP=1\n_BOOT_ID=%b\n" % (b"a" * 32)
    body = (
        fields + b"MESSAGE=no time\n\n__REALTIME_TIMESTAMP=1795000000000000\n" + fields + b"MESSAGE=x\nlow=1\nA-B=1\n\n"
    )
    answered = http.request("POST", "/upload", body, {"Content-Type": "application/vnd.fdo.journal"})
    assert answered.status == 202
    http.close()
    (entry,) = remote.entries()
    assert entry["MESSAGE"] == "x"
    assert not {"low", "LOW", "A-B", "A_B"} & set(entry)


def test_killed_while_messages_arrive(remote: JournalRemote, stream: Callable[..., Any]) -> None:
    """Killed by SIGKILL under load, down for a while, and started again: every message is there. It cannot tell a
    second copy: those of the batch under way can be there twice, with the same id."""
    module = stream(url=remote.url)
    for first in range(0, 5000, 500):
        give(module, first, first + 500)
    until(lambda: number(module, "sent_records") > 500, "some messages")
    remote.kill()
    for first in range(5000, 10_000, 500):
        give(module, first, first + 500)
    until(lambda: number(module, "retried_batches") > 0, "a retry")
    remote.start()
    until(lambda: number(module, "sent_records") == 10_000, "all messages")
    module.finish()
    counted = Counter(entry["MESSAGE"] for entry in remote.entries())
    assert set(counted) == {f"line {seq}" for seq in range(10_000)}
    assert sum(counted.values()) <= 11_000
    assert number(module, "queued_records") == 10_000


def test_a_hanging_server_costs_nothing(remote: JournalRemote, stream: Callable[..., Any]) -> None:
    """While it hangs, the module takes messages at once; they arrive when it continues."""
    module = stream(url=remote.url, timeout="0.5s")
    remote.pause()
    for first in range(0, 5000, 10):
        give(module, first, first + 10)
    until(lambda: number(module, "retried_batches") > 0, "a retry")
    remote.resume()
    until(lambda: number(module, "sent_records") == 5000, "all messages")
    module.finish()
    assert {entry["MESSAGE"] for entry in remote.entries()} == {f"line {seq}" for seq in range(5000)}


def test_an_outage_is_found_by_time(remote: JournalRemote, stream: Callable[..., Any]) -> None:
    """What two workers received while the server was away, and a report, is found by its time: journalctl ends at the
    first entry after ``--until``, and passes over entries before ``--since`` by halves, as if a file were in order."""
    remote.kill()
    module = stream(url=remote.url, workers=2)
    times = [T0 + 60 * minute for minute in range(20)]
    for at in times:
        module.handle_batch(0, [extended_message("a", ts_usec=10**6, received_at=at, seq=round(at))])
        module.handle_batch(
            1, [extended_message("b", ts_usec=10**6, received_at=at + 1, address="192.0.2.2", seq=round(at))]
        )
    module.handle_report(0, crash_report(received_at=T0 + 660))
    until(lambda: number(module, "retried_batches") > 0, "a retry")
    remote.start()
    until(lambda: number(module, "sent_records") == 41, "all records")
    # Received before the others, and read after them.
    module.handle_batch(1, [extended_message("late", received_at=times[-1] - 1, address="192.0.2.2", seq=1 << 40)])
    until(lambda: number(module, "sent_records") == 42, "the last record")
    assert len(remote.entries()) == 42
    for at in times:
        before = len(remote.entries("-U", f"@{at + 30:.0f}"))
        after = len(remote.entries("-S", f"@{at + 30:.0f}"))
        minutes = round((at - T0) / 60)
        assert (before, before + after) == (2 * minutes + 2 + (minutes >= 11) + (minutes == 19), 42), minutes


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, for a small disk")
def test_a_server_without_room(directory: Path, stream: Callable[..., Any]) -> None:
    """When its disk is full, it closes the connection: records wait in the spool, and none is a dead letter.

    From 253 on, it deletes its oldest entries before (journal-remote.conf(5), MaxUse=)."""
    program, environment = systemd("lib/systemd/systemd-journal-remote")
    version = subprocess.run([program, "--version"], env=environment, capture_output=True, check=True).stdout
    if int(version.split()[1]) >= 253:
        pytest.skip("deletes its oldest entries before its disk is full")
    server = JournalRemote(directory, limit=24 << 20)
    with running(server):
        module = stream(url=server.url)
        for first in range(0, 20_000, 100):
            now = time.time()
            texts = [os.urandom(2000).hex() for _ in range(100)]
            module.handle_batch(0, [extended_message(text, seq=first, received_at=now) for text in texts])
            if number(module, "retried_batches"):
                break
        until(lambda: number(module, "retried_batches") > 0, "a retry")
        assert (number(module, "dead_records"), number(module, "dropped_records")) == (0, 0)
        assert 0 < number(module, "sent_records") < number(module, "queued_records")


def test_https(directory: Path, stream: Callable[..., Any]) -> None:
    """Over HTTPS; a server whose certificate is not trusted gets nothing. Debian's does not ask for one in return."""
    cert, key = certificate(directory)
    server = JournalRemote(directory, certificate=(cert, key))
    with running(server):
        module = stream(url=server.url, ca_file=str(cert))
        give(module, 0, 100)
        until(lambda: number(module, "sent_records") == 100, "the messages")
        with pytest.raises(RuntimeError, match="certificate"):
            type(module)(url=server.url).send_test()
        assert len(server.entries()) == 100


def test_local(journald: Journald, stream: Callable[..., Any]) -> None:
    """Everything that is sent is in the local journal, the largest record as well."""
    module = stream(socket=str(journald.socket))
    give_hard_ones(module)
    until(lambda: sum("NETCONSD_ID" in entry for entry in journald.entries()) == 9, "nine records")
    found = {
        entry["NETCONSD_ID"].rpartition("192.0.2.1/1794999999/")[2]: entry
        for entry in journald.entries()
        if "NETCONSD_ID" in entry
    }
    first = found["1"]
    assert (first["MESSAGE"], first["SYSLOG_IDENTIFIER"], first["PRIORITY"]) == ("plain", "192.0.2.1", "6")
    assert (first["_TRANSPORT"], first["NETCONSD_TS_USEC"]) == ("journal", "1000000")
    assert len(found["5"]["MESSAGE"]) == 500_000
    assert found["6"]["NETCONSD_USERDATA_K959"] == "v"
    assert number(module, "sent_records") == 9
    assert module.send_test().endswith("journald has no answer")


def test_journald_is_started_again(journald: Journald, stream: Callable[..., Any]) -> None:
    """While journald hangs and is stopped, messages wait; it has them all after its start."""
    module = stream(socket=str(journald.socket), timeout="0.5s")
    give(module, 0, 100)
    until(lambda: sum("NETCONSD_ID" in entry for entry in journald.entries()) == 100, "the first messages")
    journald.kill()
    give(module, 100, 3000)
    until(lambda: number(module, "retried_batches") > 0, "a retry")
    journald.socket.unlink()
    journald.start()
    until(lambda: number(module, "sent_records") == 3000, "all messages")
    until(lambda: sum("NETCONSD_ID" in entry for entry in journald.entries()) == 3000, "all messages there")
    counted = Counter(entry["MESSAGE"] for entry in journald.entries() if "NETCONSD_ID" in entry)
    assert counted == Counter(f"line {seq}" for seq in range(3000))
