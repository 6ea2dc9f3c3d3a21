"""``netconsd hosts``: the senders of a store."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from netconsd.store import layout
from netconsd.store.journal import Journal
from netconsd.testing import extended_message

pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'netconsd[store]'")
from netconsd.cli import hosts
from netconsd.store.compactor import Compactor

NOW = 1_795_859_200.0


def write(directory: Path, number: int, *senders: tuple[int, float, dict[str, Any]]) -> None:
    """Add one message of each sender: (host, seconds ago, fields). A field can be the address."""
    (directory / layout.JOURNAL).mkdir(exist_ok=True)
    journal = Journal(
        directory / layout.JOURNAL, 1, first_number=number, part_bytes=1 << 30, part_seconds=1e9, most_bytes=1 << 40
    )
    for host, ago, fields in senders:
        message = extended_message("x", **{"address": f"192.0.2.{host}", "received_at": NOW - ago, **fields})
        message._lost = 5 if host == 9 else -1
        journal.append(0, [message])
    journal.close()


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a store of three senders, in a segment and a journal."""
    monkeypatch.setattr(time, "time", lambda: NOW)
    named = {"userdata": {"host": "web01", "role": "web"}, "release": "7.3.1"}
    write(tmp_path, 1, (10, 7200, {"level": 3}), (9, 90, {}), (2, 4000, named))
    compactor = Compactor(tmp_path)
    compactor.recover()
    compactor.compact()
    write(tmp_path, 2, (2, 12, {"level": 2}))
    return tmp_path


def test_table(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each sender once, in the order of addresses, with what it sent in all files."""
    assert hosts.main(["--store", str(store)]) == 0
    assert capsys.readouterr().out == (
        "machine              heard  boots   messages   errors    lost  release\n"
        "web01@192.0.2.2    12s ago      1          2        1       0  7.3.1\n"
        "192.0.2.9           1m ago      1          1        0       5  -\n"
        "192.0.2.10          2h ago      1          1        1       0  -\n"
        "3 senders, 4 messages\n"
    )


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        (["--silent", "10m"], ["192.0.2.10"]),
        (["--silent", "2d"], []),
        (["--since", "1h"], ["192.0.2.2", "192.0.2.9"]),
        (["--host", "web*", "--host", "192.0.2.8/30"], ["192.0.2.2", "192.0.2.9", "192.0.2.10"]),
        (["--host", "role=web"], ["192.0.2.2"]),
    ],
)
def test_options(store: Path, capsys: pytest.CaptureFixture[str], options: list[str], wanted: list[str]) -> None:
    """Each option chooses senders; the status says whether there was one."""
    assert hosts.main(["--store", str(store), "--json", *options]) == (0 if wanted else 1)
    assert [json.loads(line)["address"] for line in capsys.readouterr().out.splitlines()] == wanted
    hosts.main(["--store", str(store), *options])
    assert bool(capsys.readouterr().err) == (not wanted)


def test_names(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Machines are shown and chosen by the names of the administrator's file, as in the printer."""
    names = tmp_path / "names"
    names.write_text("192.0.2.9 db07\n192.0.2.2 rack1-7\n")
    assert hosts.main(["--store", str(store), "--hosts-file", str(names)]) == 0
    shown = [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:4]]
    assert shown == ["web01@rack1-7", "db07", "192.0.2.10"]
    assert hosts.main(["--store", str(store), "--hosts-file", str(names), "--host", "DB*", "--json"]) == 0
    [only] = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (only["address"], only["name"]) == ("192.0.2.9", "db07")
    assert hosts.main(["--store", str(store), "--host-key", "role"]) == 0
    assert "web@192.0.2.2" in capsys.readouterr().out


def test_errors(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong option and a missing store are errors that name them."""
    for options in (["--silent", "soon"], ["--since", "soon"], ["--host", "1/2/3"]):
        with pytest.raises(SystemExit):
            hosts.main(["--store", str(store), *options])
        assert options[0] in capsys.readouterr().err
    assert hosts.main(["--store", str(store / "none")]) == 2


def test_several_senders_of_an_address(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They have their ports, behind an IPv6 address in brackets, as the printer shows them."""
    write(store, 3, *((0, 5, {"address": "2001:db8::7", "port": port}) for port in (6665, 6666)), (9, 5, {"port": 7}))
    assert hosts.main(["--store", str(store)]) == 0
    shown = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert {"192.0.2.9:7", "192.0.2.9:6665", "[2001:db8::7]:6665", "[2001:db8::7]:6666"} <= set(shown)
