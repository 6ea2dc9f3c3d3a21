"""twistd netconsd: its options, and the service made from them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.application.service import IService
from twisted.plugin import getPlugins

from netconsd.settings import OPTIONS, Settings
from netconsd.tap import Options, makeService
from tests.support.daemons import MODULE, Logged, daemon_log

HINT = "--help lists the options; those of twistd itself, such as -n, stand before netconsd"


@pytest.fixture
def logged() -> Iterator[Logged]:
    """The log lines of netconsd."""
    with daemon_log() as texts:
        yield texts


def options(*arguments: str) -> Options:
    """Parse a command line."""
    parsed = Options()
    parsed.parseOptions(list(arguments))
    return parsed


def error_of(*arguments: str) -> str:
    """Parse a command line with errors, and return the text with which twistd ends."""
    with pytest.raises(SystemExit) as caught:
        makeService(options(*arguments))
    assert isinstance(caught.value.code, str), "a text ends with status 1"
    return caught.value.code


def test_short_and_long_options() -> None:
    """The short and the long options of the C daemon give the same configuration."""
    short = options("-u", "1", "-a", "::1", "-l", "2", "-w", "3", "-b", "4", "-g", "1000/2000")
    long = options("--port=1", "--address=::1", "--listeners=2", "--workers=3", "--batch=4", "--gc=1000/2000")
    assert short.configuration == long.configuration
    assert long.configuration.settings == Settings(
        port=1, address="::1", listeners=2, workers=3, batch=4, gc_interval=1.0, gc_age=2.0
    )


def test_a_flag() -> None:
    """A flag is off by default."""
    assert not options().configuration.settings.acks
    assert options("--acks").configuration.settings.acks


def test_allow() -> None:
    """--allow may be repeated or have commas; without it all senders are allowed."""
    assert options().configuration.settings.allow == ()
    parsed = options("--allow", "192.0.2.0/24", "--allow", "2001:db8::/32,::1")
    assert parsed.configuration.settings.allow == ("192.0.2.0/24", "2001:db8::/32", "::1")
    assert error_of("--allow", "localhost").startswith("netconsd: --allow: 'localhost' is not a network, such as ")


def test_modules_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--modules may be repeated, and positional arguments are modules, as with the C daemon."""
    monkeypatch.chdir(tmp_path)
    parsed = options("--modules", "printer", "--modules", "./a.py", "b.so", "c/d.py")
    assert parsed.configuration.modules == ("printer", f"{tmp_path}/a.py", f"{tmp_path}/b.so", f"{tmp_path}/c/d.py")


def test_every_option_of_the_c_daemon() -> None:
    """Each letter of the C daemon's options exists, takes a value if it does there, and is in docs/migrating."""
    guide = (Path(__file__).parents[2] / "docs/migrating.rst").read_text()
    for letter, value in re.findall("([a-z])(:?)", "hw:l:b:a:u:g:"):
        assert letter + value in Options().shortOpt
        assert f"\n`-{letter}" in guide


def test_options_after_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Options may follow modules, as with the C daemon; after -- everything is a module."""
    monkeypatch.chdir(tmp_path)
    configuration = options("a.py", "-u", "7", "--set", "a.b=", "b.py", "--", "-c.py").configuration
    assert configuration.settings.port == 7
    assert configuration.module_settings["a"]["b"].value == ""
    assert configuration.modules == (f"{tmp_path}/a.py", f"{tmp_path}/b.py", f"{tmp_path}/-c.py")


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    """--help prints every option with bounds and default in 80 columns, and exits with 0."""
    for flag in ("--help", "-h"):
        with pytest.raises(SystemExit) as caught:
            options(flag)
        assert caught.value.code == 0
    text = capsys.readouterr().out
    for part in (
        "[0 to 65535; default: 1514]",
        "60000/3600000",
        "--set=",
        "-w, --workers=",
        *map("--{}".format, OPTIONS),
    ):
        assert part in text
    assert max(len(line) for line in text.splitlines()) <= 80


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """--version prints the version of netconsd and exits with 0."""
    with pytest.raises(SystemExit) as caught:
        options("--version")
    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith("netconsd ")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--port", "70000"], "--port: 70000 is not between 0 and 65535"),
        (["-a", "localhost"], "--address: 'localhost' is not an IPv4 or IPv6 address"),
        (["--set", "x"], "--set: 'x' is not NAME.KEY=VALUE"),
        (["--config", "gone.toml"], "--config: gone.toml: No such file or directory"),
        (["--prot", "1"], f"there is no option --prot; did you mean --port? ({HINT})"),
        (["--stop_timeout", "1"], f"there is no option --stop_timeout; did you mean --stop-timeout? ({HINT})"),
        (["--xyz"], f"there is no option --xyz ({HINT})"),
        (["-u1", "--port", "2"], f"--port is given twice, as 1 and 2 ({HINT})"),
        (
            ["-a::1", "-a", "::2"],
            f"--address is given twice, as ::1 and ::2; without it, all addresses are listened on ({HINT})",
        ),
        (["--config=a", "x.py", "--config", "b"], f"--config is given twice, as a and b ({HINT})"),
        (["--port"], f"option --port requires argument ({HINT})"),
        (
            ["-u", "x", "-w", "0"],
            (
                "2 errors in the options:\n"
                "  - --port: 'x' is not a whole number\n  - --workers: 0 is not between 1 and 64"
            ),
        ),
        (["/nowhere/x.py"], "/nowhere/x.py: No such file or directory"),
    ],
)
def test_errors(arguments: list[str], text: str) -> None:
    """All errors are one text, which names each option, before anything starts."""
    assert error_of(*arguments) == f"netconsd: {text}"


def test_service(tmp_path: Path, logged: Logged) -> None:
    """The service gets the modules by name and the settings; modules of a directory that do not start are logged."""
    (tmp_path / "a.py").write_text(MODULE)
    (tmp_path / "b.py").write_text("")
    made = makeService(options("-u", "7", "--set", "a.way=x", str(tmp_path)))
    assert IService.providedBy(made)
    daemon: Any = made
    assert daemon._service._modules["a"].way == "x"
    assert daemon._service.settings == Settings(port=7)
    assert logged() == [f"info: not used: {tmp_path}/b.py: no output module in it"]


def test_no_modules(logged: Logged) -> None:
    """Without any module the daemon starts and warns."""
    makeService(options())
    assert logged() == ["warn: There is no output module, so messages are dropped; try --modules printer"]


def test_plugin() -> None:
    """Twistd finds the plugin, which names these options and this makeService."""
    from twisted.application.service import IServiceMaker

    (plugin,) = [plugin for plugin in getPlugins(IServiceMaker) if plugin.tapname == "netconsd"]
    assert plugin.options is Options
    assert plugin.makeService is makeService


def test_selftest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--selftest adds the shipped module to those of the command line or the file, and makes its failure fatal."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "selftest").mkdir()
    (tmp_path / "n.toml").write_text('modules = ["printer"]\n[module.selftest]\non_failure = "log"\ntimeout = 9.0\n')
    for arguments, names in (
        (["--selftest"], ["selftest"]),
        (["--selftest", "logger"], ["logger", "selftest"]),
        (["--selftest", "--config", "n.toml"], ["printer", "selftest"]),
    ):
        configuration = options(*arguments).configuration
        assert [Path(module).stem for module in configuration.modules] == names
        assert all(Path(module).is_file() for module in configuration.modules if Path(module).stem == "selftest")
        assert configuration.module_settings["selftest"]["on_failure"].value == "exit"
    assert configuration.module_settings["selftest"]["timeout"].value == 9.0


def test_selftest_needs_its_setting() -> None:
    """The selftest does not start from a directory, because its setting has no default."""
    assert '"on_failure"' in error_of("selftest")
