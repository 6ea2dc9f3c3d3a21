"""Wrong settings of modules: all at once, each with its place, in the check, at the start and on SIGHUP."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from twisted.logger import capturedLogs

from netconsd.cli.check import main
from netconsd.daemon.config import configure
from netconsd.daemon.process import Daemon, StartError
from netconsd.daemon.reload import BURST_PAUSE
from netconsd.outputs.loader import ModuleError, Selection, load
from netconsd.outputs.runner import Outputs
from netconsd.service import NetconsdService
from netconsd.settings import ConfigError
from netconsd.tap import Options
from tests.support.daemons import FakeReactor, FakeService, Logged, daemon_log, process_settings
from tests.support.module_files import HEAD, METHODS, Write, with_settings, written
from tests.support.outputs import HERE, begin

Capture = pytest.CaptureFixture[str]

#: A module with a limit, an amount and a path; its check and its start refuse the path "wrong".
MODULE = HEAD.replace("IReloadable", "IReloadable, ICheckable") + (
    "@implementer(IOutputModule, ICheckable)\nclass Output:"
    + METHODS
    + """
    def __init__(self, *, limit: int = 1, count: int = 1, path: Path = Path("/x"), host: str = "a"):
        if limit < 1:
            raise ValueError(f"limit: {limit} is less than 1")
        if count < 1:
            raise ValueError(f"count: {count} is less than 1")
        self.path, self.host = path, host
    def check(self):
        if self.path.name != "x":
            raise RuntimeError("path: is wrong")
        if self.host != "a":
            raise RuntimeError("host: is unknown")
        raise RuntimeError("the machine is too old")
    def start(self, worker_count):
        raise RuntimeError("path: is wrong")
"""
)


@pytest.fixture
def write(tmp_path: Path) -> Iterator[Write]:
    """A function that writes a file into the test's directory; modules are forgotten at the end."""
    with written(tmp_path) as function:
        yield function


@pytest.fixture(autouse=True)
def _process_wide() -> Iterator[None]:
    """Restore the process's settings."""
    with process_settings():
        yield


def checked(write: Write, capsys: Capture, settings: str) -> list[str]:
    """Return the errors of a check of the module with these lines of the file, without the program's name."""
    write("x.py", MODULE)
    file = write("n.toml", 'port = 0\naddress = "127.0.0.1"\nmodules = ["x.py"]\n[module.x]\n' + settings)
    assert main(["--config", str(file)]) == 1
    errors = capsys.readouterr().err.splitlines()
    return [error.removeprefix("netconsd check: ").replace(f"{file}", "n.toml") for error in errors]


def test_a_check_finds_all_errors_at_once(write: Write, capsys: Capture) -> None:
    """Unknown settings, wrong types, errors of the constructor and of the module's check are found by one run."""
    assert checked(write, capsys, 'sise = 1\nlimit = 0\ncount = "a"\nhost = "b"\n') == [
        'n.toml:5: [module.x] sise: module x has no setting "sise"; it has limit, count, path, host',
        'n.toml:7: [module.x] count: "a" is not a whole number',
        "n.toml:6: [module.x] limit: 0 is less than 1",
        "n.toml:8: [module.x] host: is unknown",
    ]


def test_a_check_without_a_wrong_path(write: Write, capsys: Capture) -> None:
    """A module whose path is wrong is not asked: it would test another place."""
    assert checked(write, capsys, "limit = 0\npath = 1\n") == [
        "n.toml:6: [module.x] path: 1 is not a path",
        "n.toml:5: [module.x] limit: 0 is less than 1",
    ]


def test_a_check_that_names_no_setting(write: Write, capsys: Capture) -> None:
    """An error that is about no setting, or about one that has its default, names the module."""
    assert checked(write, capsys, "limit = 2\n") == ["module x would not start: the machine is too old"]


def test_the_file_of_names(tmp_path: Path, write: Write, capsys: Capture) -> None:
    """An error of the file of names has the line of the setting."""
    file = write("n.toml", 'hosts-file = "gone"\nmodules = ["printer"]\nport = 0\n')
    assert main(["--config", str(file)]) == 1
    reason = f"cannot read {tmp_path}/gone: No such file or directory"
    assert capsys.readouterr().err == f"netconsd check: {file}:1: hosts-file: {reason}\n"


def test_the_file_of_names_on_sighup(tmp_path: Path, write: Write) -> None:
    """If the file of names cannot be read again, the log has the line of the setting."""
    write("names", "192.0.2.1 web1\n")
    file = write("n.toml", 'hosts-file = "names"\n')
    configuration = configure({}, config=str(file))
    service = NetconsdService({}, configuration.settings)
    Daemon(service, {}, configuration=configuration)
    (tmp_path / "names").unlink()
    with daemon_log() as logged:
        service.reload()
    reason = f"cannot read {tmp_path}/names: No such file or directory; the previous names stay in use"
    assert logged() == [f"error: {file}:1: hosts-file: {reason}"]


@pytest.mark.parametrize("name", ["printer", "logger"])
@pytest.mark.parametrize("setting", ["keep", "drop"])
def test_patterns(name: str, setting: str, write: Write) -> None:
    """A malformed pattern has the line of its setting, at the start as in the check."""
    file = write("n.toml", f'[module.{name}]\n{setting} = "a("\n')
    configuration = configure({}, modules=[name], sets=["logger.directory=/x"], config=str(file))
    with pytest.raises(ModuleError) as caught:
        load([name], {name: configuration.module_settings[name]})
    assert str(caught.value).startswith(f"{file}:2: [module.{name}] {setting}: is not a regular expression of ")


def test_an_error_of_the_start(write: Write, capsys: Capture) -> None:
    """An error of a module's start that names a setting has the line of the setting."""
    path = write("x.py", MODULE)
    file = write("n.toml", '[module.x]\npath = "y"\n')
    configuration = configure({}, modules=[str(path)], config=str(file))
    selection = load(configuration.modules, configuration.module_settings)
    failing = begin(Outputs({"x": selection.loaded[0].module}, 1).start(HERE))
    service = FakeService()
    failing.addErrback(lambda failure: setattr(service, "start_error", failure.value))
    assert str(service.start_error) == "x.path: is wrong"
    daemon = Daemon(service, {}, reactor=FakeReactor(), configuration=configuration)
    with capturedLogs(), pytest.raises(StartError, match=rf"^{file}:2: \[module.x\] path: is wrong$"):
        daemon.startService()


def rereading(file: Path, *more: str) -> tuple[Options, Selection]:
    """The parsed options of a daemon with this file, and its modules."""
    options = Options()
    options.parseOptions(["--config", str(file), *more])
    configuration = options.configuration
    return options, load(configuration.modules, configuration.module_settings, configuration.spare)


HEADING = 'modules = ["x.py", "dir"]\n'


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ("[module.x]\nlimt = 1\n", '3: [module.x] limt: module x has no setting "limt"; did you mean "limit"? It has '),
        ('[module.x]\nlimit = "a"\n', '3: [module.x] limit: "a" is not a whole number'),
        ("[module.x]\nlimit = 0\n", "3: [module.x] limit: 0 is less than 1"),
        ("[module.needy]\nsize = true\n", "3: [module.needy] size: true is not a whole number"),
        ("[module.y]\nlimit = 1\n", '3: [module.y] limit: no module "y" was found'),
    ],
)
def test_a_reload_with_a_wrong_setting(
    settings: str, error: str, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGHUP reports a wrong setting of a module with its line, instead of a restart that would fail; other settings
    stay as they are."""
    write("x.py", MODULE)
    write("dir/needy.py", with_settings("*", "size: int"))
    file = write("n.toml", HEADING)
    options, selection = rereading(file)
    service, reactor = FakeService(), FakeReactor()
    daemon = Daemon(
        service,
        {},
        reactor=reactor,
        configuration=options.configuration,
        reread=partial(options.reread, selection),
    )
    daemon.startService()
    file.write_text(HEADING + settings)
    with daemon_log() as logged:
        sighup(daemon, reactor)
    assert service.reloaded == [None]
    (line,) = logged()
    assert line.startswith(f"error: SIGHUP: the old configuration stays in use: {file}:{error}")


def sighup(daemon: Daemon, reactor: FakeReactor) -> None:
    """Reload as a SIGHUP does."""
    daemon._heard_sighup()
    reactor.clock.advance(BURST_PAUSE)


def test_a_reload_with_all_errors_at_once(write: Write) -> None:
    """Errors of options, of names of modules and of their settings are in one text."""
    write("x.py", MODULE)
    file = write("n.toml", 'modules = ["x.py"]\n')
    options, selection = rereading(file)
    file.write_text('modules = ["x.py", "printr"]\nrate = -1\n[module.x]\nlimit = 0\ncount = 0\n')
    with pytest.raises(ConfigError) as caught:
        options.reread(selection)
    text = str(caught.value)
    for part in ("4 errors in", ":2: rate: ", 'no module "printr"', ":4: [module.x] limit: ", ":5: [module.x] count: "):
        assert part in text


def test_a_reload_with_right_settings(write: Write) -> None:
    """Right settings, also of a module that a restart would load, are no error, and constructors are not called for
    modules whose settings are the same."""
    counting = "open(Path(__file__).parent / str(limit), 'a').close()\n        if limit < 1:"
    write("x.py", MODULE.replace("if limit < 1:", counting))
    write("dir/needy.py", with_settings("*", "size: int"))
    file = write("n.toml", 'modules = ["x.py", "dir"]\n')
    options, selection = rereading(file)
    (file.parent / "1").unlink()
    write("dir/new.py", with_settings("*", "size: int"))
    file.write_text('modules = ["x.py", "dir", "logger"]\n[module.needy]\nsize = 1\n[module.new]\nsize = 1\n')
    options.reread(selection)
    assert not (file.parent / "1").exists()
    file.write_text('modules = ["x.py"]\n[module.x]\nlimit = 7\n')
    options.reread(selection)
    assert (file.parent / "7").exists()


def test_a_reload_with_nothing_to_do(logged: Logged) -> None:
    """Without a file and without a module that reopens files, SIGHUP says that it does nothing, in one line."""
    service, reactor = FakeService(), FakeReactor()
    daemon = Daemon(service, {}, reactor=reactor)
    daemon.startService()
    sighup(daemon, reactor)
    assert logged() == [
        "info: SIGHUP: nothing to do: no module reopens files, and neither --config nor --hosts-file names a file"
    ]


@pytest.fixture
def logged() -> Iterator[Logged]:
    """The log lines of netconsd."""
    with daemon_log() as lines:
        yield lines
