"""The logger's files by host name."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from modules.logger import FILE_NAMES_LIMIT, Logger
from netconsd.logger.hostnames import HostsError
from netconsd.logger.lines import log_lines
from netconsd.names import Names
from netconsd.testing import extended_message
from tests.support.loggers import A, B, C, Contended, batch, files, logged, logging
from tests.support.nameserver import ReadingReactor, nameserver

# Seconds that a test waits for a thread, at most.
TIMEOUT = 30.0
HOST = "{host}.log"


@pytest.fixture
def hosts(tmp_path: Path) -> Path:
    """A file with a name for A."""
    path = tmp_path / "hosts"
    path.write_text(f"{A} web1\n")
    return path


def test_names_from_a_file(tmp_path: Path, hosts: Path) -> None:
    """The log file of a host in the hosts file has the host's name; other log files have the address."""
    with logging(tmp_path / "logs", names=Names(hosts_file=hosts), name=HOST) as logger:
        logger.handle_batch(0, batch("one") + batch("two", address=B))
    with logging(tmp_path / "more", names=Names(hosts_file=hosts), name="{address}-{host}.{port}") as logger:
        logger.handle_batch(0, batch("one"))
    assert files(tmp_path / "logs") == {"web1.log": ["one"], f"{B}.log": ["two"]}
    assert files(tmp_path / "more") == {f"{A}-web1.6665": ["one"]}


def test_reload_reads_the_hosts(tmp_path: Path, hosts: Path) -> None:
    """A reload uses the new names; a malformed file leaves the names unchanged and is logged."""
    names = Names(hosts_file=hosts)
    with logging(tmp_path / "logs", names=names, name=HOST) as logger:
        hosts.write_text(f"{A} db1\n")
        names.reload()
        logger.handle_batch(0, batch("one"))
        hosts.write_text(f"{A} /etc\n")
        with logged() as texts:
            names.reload()
        logger.handle_batch(0, batch("two"))
    assert files(tmp_path / "logs") == {"db1.log": ["one", "two"]}
    assert len(texts) == 1
    assert texts[0].startswith(f'--hosts-file: {hosts}:1: "/etc" is not a host name')
    assert texts[0].endswith("; the previous names stay in use")


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"name": "{host}" + "x" * 73}, 'name: "{host}' + "x" * 73 + '" is longer than 72'),
        ({"name": "{host}{port}"}, 'name: "{host}{port}" has two fields without a separator'),
        ({"hosts": ("/etc/hosts",)}, 'hosts: "/etc/hosts" is not an address, a network such as 192.0.2.0/24, or a'),
    ],
)
def test_wrong_settings(tmp_path: Path, settings: dict[str, str], error: str) -> None:
    """Too long a template, one with two adjacent fields, and a path instead of hosts are errors."""
    with pytest.raises(ValueError) as caught:
        Logger(directory=tmp_path, **settings)  # type: ignore[arg-type]
    assert str(caught.value).startswith(error)


def test_missing_hosts_file(tmp_path: Path) -> None:
    """A missing file of names is an error that names it."""
    with pytest.raises(HostsError, match=rf"^cannot read {tmp_path}/gone: No such file or directory$"):
        Names(hosts_file=tmp_path / "gone").read()


def test_names_from_dns(tmp_path: Path, hosts: Path) -> None:
    """Lines are in the file of the address until DNS has answered, then in the file of the name.

    The hosts file takes precedence: its addresses are not looked up.
    """
    reactor = ReadingReactor()
    with nameserver() as server:
        server.records = {
            "2.2.0.192.in-addr.arpa": [("PTR", "db1.example", 600)],
            "db1.example": [("A", B, 600)],
            "3.2.0.192.in-addr.arpa": [("PTR", "db1.example", 600)],
        }
        address = f"{server.address[0]}:{server.address[1]}"
        names = Names(hosts_file=hosts, reverse_dns=address)
        with logging(tmp_path / "logs", names=names, name=HOST, reactor=reactor) as logger:
            logger.handle_batch(0, batch("early") + batch("early", address=B) + batch("early", address=C))
            assert server.queries() == [], "lookups run in the reactor's thread"
            reactor.run_calls()
            while server.answer():
                reactor.read()
            logger.handle_batch(0, batch("late") + batch("late", address=B) + batch("late", address=C))
    assert files(tmp_path / "logs") == {
        "web1.log": ["early", "late"],
        f"{B}.log": ["early"],
        "db1.example.log": ["late"],
        f"{C}.log": ["early", "late"],
    }
    assert "1.2.0.192.in-addr.arpa" not in server.queried
    assert reactor.readers == []
    assert reactor.getDelayedCalls() == []


def test_stop_during_a_lookup(tmp_path: Path) -> None:
    """A stop does not wait for DNS and leaves neither sockets nor timers."""
    reactor = ReadingReactor()
    with (
        nameserver() as server,
        logging(
            tmp_path / "logs",
            names=Names(reverse_dns=f"127.0.0.1:{server.address[1]}"),
            name=HOST,
            reactor=reactor,
        ) as logger,
    ):
        logger.handle_batch(0, batch("text"))
        reactor.run_calls()
        assert len(reactor.readers) == 1
    assert reactor.readers == []
    assert reactor.getDelayedCalls() == []
    assert files(tmp_path / "logs") == {f"{A}.log": ["text"]}


def test_one_file_of_two_workers(tmp_path: Path) -> None:
    """Two addresses of a host with two workers share its file, and the file is rotated once when it is full."""
    hosts = tmp_path / "hosts"
    hosts.write_text(f"{A} web1\n{B} web1\n")
    logs = tmp_path / "logs"
    size = len(log_lines(batch("0", "1")))
    with logging(logs, worker_count=2, names=Names(hosts_file=hosts), name=HOST, rotate_bytes=size) as logger:
        for number in range(6):
            logger.handle_batch(number % 2, batch(str(number), address=(A, B)[number % 2]))
    assert files(logs) == {"web1.log.2": ["0", "1"], "web1.log.1": ["2", "3"], "web1.log": ["4", "5"]}


def test_two_workers_rotate_at_once(tmp_path: Path) -> None:
    """When two workers race for the file of one host, no line is dropped and no rotated file is skipped."""
    hosts = tmp_path / "hosts"
    hosts.write_text(f"{A} web1\n{B} web1\n")
    logs = tmp_path / "logs"
    size = 5 * len(log_lines(batch("00000")))
    with logging(
        logs, worker_count=2, names=Names(hosts_file=hosts), name=HOST, rotate_bytes=size, rotate_keep=300
    ) as logger:

        def write(worker: int) -> None:
            for number in range(150):
                logger.handle_batch(worker, batch(f"{worker}{number:04d}", address=(A, B)[worker]))

        threads = [threading.Thread(target=write, args=[worker]) for worker in (0, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(TIMEOUT)
    by_name = files(logs)
    numbers = sorted(int(name.rpartition(".")[2]) for name in by_name if name != "web1.log")
    assert numbers == list(range(1, len(numbers) + 1))
    lines = sorted(line for texts in by_name.values() for line in texts)
    assert lines == sorted(f"{worker}{number:04d}" for worker in (0, 1) for number in range(150))


def test_workers_that_share_a_file_rotate_it_once(tmp_path: Path, hosts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker whose file another worker is rotating waits, and then writes to the new file: a second rotation would
    overwrite the full file with the new one."""
    hosts.write_text(f"{A} web1\n{B} web1\n")
    full = batch("full file", "full file")
    # Set when the second worker waits for the lock, or when it has ended without waiting.
    waited = threading.Event()
    monkeypatch.setattr("netconsd.logger.append.threading", SimpleNamespace(Lock=lambda: Contended(waited)))
    limits: dict[str, Any] = {"rotate_bytes": len(log_lines(full)), "rotate_keep": 1}
    with logging(tmp_path / "logs", worker_count=2, names=Names(hosts_file=hosts), name=HOST, **limits) as logger:
        logger.handle_batch(0, full)

        def write() -> None:
            logger.handle_batch(1, batch("second", address=B))
            waited.set()

        second = threading.Thread(target=write)
        replace = os.replace
        renamed: list[str] = []

        def meanwhile(path: str, target: str) -> None:
            renamed.append(target)
            if len(renamed) == 1:
                second.start()
                assert waited.wait(TIMEOUT)
            replace(path, target)

        monkeypatch.setattr("netconsd.logger.files.os.replace", meanwhile)
        logger.handle_batch(0, batch("first"))
        second.join(TIMEOUT)
    written = files(tmp_path / "logs")
    assert written["web1.log.1"] == ["full file", "full file"]
    assert sorted(written["web1.log"]) == ["first", "second"]
    assert len(renamed) == 1


def test_names_are_bounded(tmp_path: Path) -> None:
    """The cache of file names is bounded, and senders beyond the bound have their files."""
    logger = Logger(directory=tmp_path, name="{address}-{port}.log", max_open_files=4)
    logger.start(1)
    messages = [extended_message("x", port=1024 + number) for number in range(FILE_NAMES_LIMIT + 10)]
    logger.handle_batch(0, messages)
    logger.handle_batch(0, messages[:5])
    logger.stop()
    assert len(list(tmp_path.iterdir())) == FILE_NAMES_LIMIT + 10
    assert len(logger._file_names[0]) <= FILE_NAMES_LIMIT
    assert (tmp_path / "192.0.2.1-1024.log").read_bytes().count(b"\n") == 2
