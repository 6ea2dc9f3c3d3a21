"""The store and the names that a command uses: of the options, of the configuration, or the defaults."""

from __future__ import annotations

import argparse
from importlib import import_module
from pathlib import Path

import pytest

from netconsd.cli import storeoptions
from netconsd.cli.storeoptions import Lookup, Place, add_names, add_store, levels, place_of
from netconsd.logger.hostnames import LOOKUPS_LIMIT
from netconsd.names import Names
from netconsd.store import layout


def place(*words: str) -> Place:
    """Return the place that options say."""
    parser = argparse.ArgumentParser()
    add_store(parser)
    add_names(parser)
    return place_of(parser.parse_args(words), "netconsd x")


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the root of a machine without a service; its user's directory is ``home``."""
    monkeypatch.setattr(storeoptions, "CONFIG", tmp_path / "etc.toml")
    monkeypatch.setattr(layout, "SERVICE_STORE", tmp_path / "service")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    return tmp_path


def test_the_directory(machine: Path) -> None:
    """The option, then the configuration, then the user's store; the service's if the user has none."""
    user = machine / "home/netconsd/store"
    assert place().directory == user
    (machine / "service").mkdir()
    assert place().directory == machine / "service"
    user.mkdir(parents=True)
    assert place().directory == user
    (machine / "etc.toml").write_text('[module.store]\ndirectory = "kept"\n')
    assert place().directory == machine / "kept"
    other = machine / "other.toml"
    other.write_text('modules = ["printer"]\n')
    assert place("--config", str(other)).directory == user
    assert place("--store", "mine").directory == Path("mine")


def test_the_names(machine: Path) -> None:
    """The options are stronger than the configuration, as for the daemon."""
    (machine / "names").write_text("192.0.2.7 of-config\n")
    (machine / "more").write_text("192.0.2.7 of-option\n")
    (machine / "etc.toml").write_text('hosts-file = "names"\nhost-key = "name"\n')
    assert place().names.known("192.0.2.7", 0, 0.0) == "of-config"
    assert place().names.host_key == "name"
    assert place("--hosts-file", str(machine / "more")).names.known("192.0.2.7", 0, 0.0) == "of-option"
    assert place("--host-key", "").names.host_key == ""
    assert place("--reverse-dns", "192.0.2.53").names.asks_dns


def test_errors(machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong option or a named configuration ends the command; that of the service is passed over, and said."""
    bad = machine / "bad.toml"
    bad.write_text("nonsense = 1\n")
    for options, text in (
        (["--config", str(bad)], "bad.toml:1"),
        (["--config", str(machine / "none")], "none"),
        (["--hosts-file", str(machine / "none")], "none"),
        (["--reverse-dns", "somewhere"], "--reverse-dns"),
    ):
        with pytest.raises(SystemExit) as ended:
            place(*options)
        assert ended.value.code == 2
        assert text in capsys.readouterr().err
    bad.rename(machine / "etc.toml")
    assert place("--store", "mine").directory == Path("mine")
    assert "etc.toml:1" in capsys.readouterr().err
    (machine / "etc.toml").write_text('hosts-file = "none"\n')
    assert place().names.of_file() == {}
    assert "none" in capsys.readouterr().err


def test_chosen_machines() -> None:
    """Names of the file are addresses; what else a name can be stays."""
    names = Names("role")
    names.add("192.0.2.7", "db07")
    names.add("fe80::1%eth0", "db08")
    lookup = Lookup(names)
    for host, wanted in (
        ("192.0.2.9", ["192.0.2.9"]),
        ("192.0.2.0/24", ["192.0.2.0/24"]),
        ("rack=r1@x", ["rack=r1@x"]),
        ("web@192.0.2.9", ["192.0.2.9"]),
        ("DB07", ["DB07", "role=DB07", "192.0.2.7"]),
        ("db*", ["db*", "role=db*", "192.0.2.7", "fe80::1%eth0"]),
    ):
        assert list(lookup.chosen([host], list)) == wanted
    assert lookup.chosen([], list) == ()


def test_dns_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is waited for once: then addresses are shown."""
    names = Names(reverse_dns="192.0.2.53")
    monkeypatch.setattr(Names, "pending", 1)
    asked: list[str] = []
    monkeypatch.setattr(Names, "known", lambda self, address, port, now: asked.append(address))
    lookup = Lookup(names, seconds=0.01)
    lookup.wait(f"192.0.2.{number}" for number in range(200))
    assert len(asked) == LOOKUPS_LIMIT
    lookup.wait(["192.0.2.1"])
    assert len(asked) == LOOKUPS_LIMIT


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        *(("err", (0, 3)), ("ERROR", (0, 3)), ("3", (0, 3)), ("warning", (0, 4)), ("debug", (0, 7)), ("0", (0, 0))),
        *(("err..info", (3, 6)), ("6..3", (3, 6)), ("warn..warn", (4, 4)), ("emerg..2", (0, 2))),
    ],
)
def test_levels(text: str, wanted: tuple[int, int]) -> None:
    """Names and numbers, alone or as a range in either order, as of journalctl."""
    assert levels(text) == wanted


@pytest.mark.parametrize("text", ["", "8", "-1", "loud", "err..", "..err", "1..2..3", "33"])
def test_no_levels(text: str) -> None:
    """The error names the levels."""
    with pytest.raises(argparse.ArgumentTypeError, match="emerg, alert"):
        levels(text)


@pytest.mark.parametrize("words", [("log",), ("hosts",), ("patterns",), ("crashes", "--store")])
def test_without_the_library(
    machine: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    """Each command that reads a store says how to install the library, and ends with 2."""
    monkeypatch.setattr(storeoptions, "find_spec", lambda name: None)
    assert import_module(f"netconsd.cli.{words[0]}").main(words[1:], "netconsd x") == 2
    assert capsys.readouterr().err == f"netconsd x: {storeoptions.LIBRARY_MISSING}\n"
