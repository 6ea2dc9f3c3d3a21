"""SIGHUP: bursts, what is applied, what needs a restart, and a configuration with errors."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from twisted.internet.task import Clock

from netconsd.daemon.config import Configuration, configure
from netconsd.daemon.process import Daemon
from netconsd.daemon.reload import BURST_LIMIT, BURST_PAUSE, Burst, applied, differences
from netconsd.settings import OPTIONS, ConfigError, Settings
from netconsd.tap import Options
from tests.support.daemons import FakeReactor, FakeService, Logged, daemon_log, process_settings


@pytest.fixture(autouse=True)
def _process_wide() -> Iterator[None]:
    """Restore the process's settings."""
    with process_settings():
        yield


@pytest.fixture
def logged() -> Iterator[Logged]:
    """The log lines of netconsd."""
    with daemon_log() as lines:
        yield lines


def of(directory: Path, text: str, *modules: str) -> Configuration:
    """Return the configuration of a file with this text."""
    (directory / "n.toml").write_text(text)
    return configure({}, config="n.toml", modules=modules, cwd=directory)


def changes(before: Configuration, after: Configuration) -> list[str]:
    """Return the differences as lines."""
    return [text + (": needs a restart" if restart else "") for text, restart in differences(before, after)]


def test_a_burst() -> None:
    """Calls that follow one another within the pause are one call of the function, after the last."""
    clock, calls = Clock(), []
    burst = Burst(lambda: calls.append(clock.seconds()), clock)
    burst()
    clock.advance(BURST_PAUSE / 2)
    burst()
    clock.advance(BURST_PAUSE / 2)
    assert calls == []
    clock.advance(BURST_PAUSE / 2)
    assert calls == [pytest.approx(BURST_PAUSE * 1.5)]
    burst()
    clock.advance(BURST_PAUSE)
    assert len(calls) == 2


def test_an_endless_burst() -> None:
    """Calls without a pause do not delay the function beyond the limit."""
    clock, calls = Clock(), []
    burst = Burst(lambda: calls.append(clock.seconds()), clock)
    while not calls:
        burst()
        clock.advance(BURST_PAUSE / 2)
    assert calls[0] <= BURST_LIMIT + BURST_PAUSE


def test_differences(tmp_path: Path) -> None:
    """Options, modules and settings are compared; only those declared as reloadable need no restart."""
    before = of(tmp_path, 'modules = ["printer"]\n[module.printer]\ncolor = "never"\n')
    after = of(
        tmp_path,
        'port = 1515\nrate = 100\nallow = ["192.0.2.0/24"]\ngc = "1/2"\nmodules = ["logger"]\n'
        '[module.printer]\n[module.logger]\ndirectory = "x"\n',
    )
    assert changes(before, before) == []
    assert changes(before, after) == [
        "port changed from 1514 to 1515: needs a restart",
        "gc changed from 60000/3600000 to 1/2: needs a restart",
        'allow changed from all senders to ["192.0.2.0/24"]',
        "rate changed from 0 to 100",
        'modules changed from ["printer"] to ["logger"]: needs a restart',
        'printer.color changed from "never" to its default: needs a restart',
        'logger.directory changed from its default to "x": needs a restart',
    ]
    running = applied(before, after)
    assert (running.settings.rate, running.settings.allow, running.settings.port) == (100, ("192.0.2.0/24",), 1514)
    assert "rate changed from 100 to 0" in changes(running, before)
    assert "port changed from 1514 to 1515: needs a restart" in changes(running, after)


def test_settings_of_modules_that_are_not_loaded(tmp_path: Path) -> None:
    """If the command line names the modules, settings of others in the file are no difference."""
    before = of(tmp_path, "[module.x]\na = 1\n", "printer")
    assert changes(before, of(tmp_path, "[module.x]\na = 2\n", "printer")) == []


def daemon_of(
    directory: Path, service: FakeService, reactor: FakeReactor, monkeypatch: pytest.MonkeyPatch, text: str
) -> Daemon:
    """Return a started daemon whose file has this text."""
    (directory / "n.toml").write_text(text)
    monkeypatch.chdir(directory)
    options = Options()
    options.parseOptions(["--config", "n.toml"])
    # As twistd does.
    monkeypatch.chdir("/")
    daemon = Daemon(service, {}, reactor=reactor, configuration=options.configuration, reread=options.reread)
    daemon.startService()
    return daemon


def reload(daemon: Daemon, reactor: FakeReactor) -> None:
    """Reload as a SIGHUP does."""
    daemon._heard_sighup()
    reactor.clock.advance(BURST_PAUSE)


def test_a_reload(tmp_path: Path, logged: Logged, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is read again from where it was; the service gets its settings, and the log has each difference."""
    service, reactor = FakeService(), FakeReactor()
    daemon = daemon_of(tmp_path, service, reactor, monkeypatch, "rate = 5\n")
    (tmp_path / "n.toml").write_text("rate = 7\nworkers = 3\n")
    reload(daemon, reactor)
    assert service.reloaded == [Settings(rate=7, workers=3)]
    assert logged() == [
        "warn: SIGHUP: workers changed from 2 to 3: needs a restart",
        "info: SIGHUP: rate changed from 5 to 7",
    ]
    (tmp_path / "n.toml").write_text("rate = 7\n")
    reload(daemon, reactor)
    assert logged()[2:] == ["info: SIGHUP: the configuration is unchanged"]


@pytest.mark.parametrize("text", ["rate = -1\n", "rate =", None])
def test_a_reload_with_errors(
    tmp_path: Path, logged: Logged, monkeypatch: pytest.MonkeyPatch, text: str | None
) -> None:
    """A file with errors, or one that is gone, changes no setting; the modules reload all the same."""
    service, reactor = FakeService(), FakeReactor()
    daemon = daemon_of(tmp_path, service, reactor, monkeypatch, "rate = 5\n")
    (tmp_path / "n.toml").unlink()
    if text is not None:
        (tmp_path / "n.toml").write_text(text)
    reload(daemon, reactor)
    assert service.reloaded == [None]
    assert logged()[0].startswith("error: SIGHUP: the old configuration stays in use: ")
    assert "n.toml" in logged()[0]


def test_every_reloadable_option_is_known() -> None:
    """The options that need no restart are those that docs/options lists."""
    reloadable = [option.name for option in OPTIONS.values() if option.reloadable]
    assert reloadable == ["allow", "rate"]
    docs = (Path(__file__).parents[2] / "docs/options.rst").read_text()
    for name in reloadable:
        assert f"`{name}`" in docs


def test_a_pipe_is_not_read_again(tmp_path: Path) -> None:
    """A configuration that came through a pipe cannot be read again, and does not block the reload."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    descriptor = os.open(fifo, os.O_RDWR)
    try:
        options = Options()
        options["config"] = str(fifo)
        options._cwd = tmp_path
        with pytest.raises(ConfigError, match="not a file that can be read again"):
            options.reread()
    finally:
        os.close(descriptor)
