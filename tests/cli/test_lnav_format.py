"""lnav reads the files of logger and jsonl by the formats of netconsd lnav-format."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from netconsd.cli.lnav_format import FORMAT, directory
from netconsd.cli.main import main
from netconsd.jsonl import json_lines
from netconsd.logger.lines import LineForm, log_lines
from netconsd.message import LegacyMessage, Message
from netconsd.testing import extended_message, legacy_message

LNAV = shutil.which("lnav")
needs_lnav = pytest.mark.skipif(
    LNAV is None and "NETCONSD_REQUIRE_STORE_TEST" not in os.environ,
    reason="lnav is not installed (Debian's package lnav)",
)

# 2026-11-22 14:04:05.123456 UTC.
BEGIN = 1795356245.123456
MESSAGES: list[Message] = [
    *(
        extended_message(f"text {level}", level=level, seq=level, ts_usec=12_345_678, received_at=BEGIN + level)
        for level in range(8)
    ),
    extended_message("marked", level=3, missing=3, lost=3, new=True, caller="T123", received_at=BEGIN + 8),
    legacy_message("legacy", received_at=BEGIN + 9),
    extended_message("emerg [C1] 2026", level=6, received_at=BEGIN + 10),
]
# lnav's names of the kernel's levels.
LEVELS = ["fatal", "fatal", "critical", "error", "warning", "notice", "info", "debug", "error", "info", "info"]
TEXTS = [message.text for message in MESSAGES]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the directory of a user with the formats installed."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    assert main(["lnav-format", "--install"]) == 0
    return tmp_path


def lnav(*arguments: str | Path) -> str:
    """Run lnav without a screen, and return its output."""
    assert LNAV is not None
    command = [LNAV, "-n", *map(str, arguments)]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, env=os.environ
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def query(sql: str, path: Path) -> list[list[str]]:
    """Return the rows of a query about the lines of a file."""
    return list(csv.reader(lnav("-c", f";{sql}", "-c", ":write-csv-to -", path).splitlines()))[1:]


def test_without_an_option_the_formats_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """They are lnav's JSON."""
    assert main(["lnav-format"]) == 0
    assert capsys.readouterr().out == FORMAT.read_text()
    assert list(json.loads(FORMAT.read_text())) == ["$schema", "netconsd_log", "netconsd_jsonl"]


def test_the_directory_is_that_of_lnav(tmp_path: Path) -> None:
    """``~/.lnav`` if an old lnav made it, then XDG's, then ``~/.config/lnav``."""
    home = {"HOME": str(tmp_path)}
    assert directory(home) == tmp_path / ".config/lnav"
    assert directory({**home, "XDG_CONFIG_HOME": "/xdg"}) == Path("/xdg/lnav")
    (tmp_path / ".lnav").mkdir()
    assert directory({**home, "XDG_CONFIG_HOME": "/xdg"}) == tmp_path / ".lnav"


def test_a_directory_that_cannot_be_made_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit status is 1."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "file"))
    assert main(["lnav-format", "--install"]) == 1
    assert f"{tmp_path}/file/lnav/formats/netconsd/netconsd.json: Not a directory" in capsys.readouterr().err


@needs_lnav
def test_lnav_finds_no_fault(home: Path) -> None:
    """Its own check of the formats, with their samples, is content."""
    assert (home / ".config/lnav/formats/netconsd/netconsd.json").read_text() == FORMAT.read_text()
    assert lnav("-C") == ""


@needs_lnav
@pytest.mark.parametrize("local", [False, True])
@pytest.mark.parametrize("sender", [False, True])
def test_files_of_the_logger(home: Path, sender: bool, local: bool) -> None:
    """Time, sender, uptime, level, marks, caller and text are fields."""
    path = home / "192.0.2.1.log"
    path.write_bytes(log_lines(MESSAGES, LineForm(sender=sender, local=local)))
    rows = query("SELECT log_level, log_body, sender, uptime, marks, caller FROM netconsd_log", path)
    assert [row[0] for row in rows] == LEVELS
    assert [row[1] for row in rows] == TEXTS
    assert {row[2] for row in rows} == ({"192.0.2.1"} if sender else {"<NULL>"})
    assert rows[0][3] == "12.345678"
    assert [row[4].strip() for row in rows[7:10]] == ["", "[new] [3 lost]", ""]
    assert [row[5] for row in rows[7:10]] == ["<NULL>", "T123", "<NULL>"]
    assert query("SELECT log_time FROM netconsd_log", path)[0][0].endswith(":05.123")


def test_levels_of_jsonl() -> None:
    """Each level is a number, emerg and alert are both fatal: lnav 0.12.4 matches no pattern with the member level."""
    pairs = json.loads(FORMAT.read_text(encoding="utf-8"), object_pairs_hook=list)
    levels = dict(dict(pairs)["netconsd_jsonl"])["level"]
    assert sorted((number, name) for name, number in levels) == list(enumerate(LEVELS[:8]))


def stored_lines() -> Iterator[bytes]:
    """Yield the lines of netconsd log -o json for the messages."""
    pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'netconsd[store]'")
    from netconsd.cli.log import Lines
    from netconsd.store.reader import Stored

    lines = Lines("json", colored=False)
    for message in MESSAGES:
        yield lines.of(Stored(message, 17, 0 if isinstance(message, LegacyMessage) else None))


@needs_lnav
@pytest.mark.parametrize("stored", [False, True])
def test_files_of_jsonl(home: Path, stored: bool) -> None:
    """The members of the objects are fields; a line shows time, address, level and text; also of netconsd log."""
    path = home / "messages.jsonl"
    path.write_bytes(json_lines(MESSAGES) if not stored else b"".join(stored_lines()))
    rows = query("SELECT log_level, log_body, address, seq, caller FROM netconsd_jsonl", path)
    assert [row[0] for row in rows] == LEVELS
    assert [row[1] for row in rows] == TEXTS
    assert {row[2] for row in rows} == {"192.0.2.1"}
    assert [row[3] for row in rows[:3]] == ["0", "1", "2"]
    assert rows[8][4] == "T123"
    # lnav 0.11 shows milliseconds.
    shown = lnav(path).splitlines()[3].replace(".123456Z ", ".123 ")
    assert shown == "2026-11-22T14:04:08.123 192.0.2.1 error    text 3"
