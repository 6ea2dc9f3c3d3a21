"""twistd netconsd: its options, the start that fails with one message, and signals."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from twisted.application.service import IService
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import CannotListenError
from twisted.logger import capturedLogs, formatEvent
from twisted.plugin import getPlugins

from netconsd.daemon import Daemon
from netconsd.loader import ModuleError
from netconsd.settings import ConfigError, Settings
from netconsd.tap import Options, makeService

Logged = Callable[[], list[str]]

ROOT = Path(__file__).parents[1]

TWISTD = "import sys; sys.argv[0] = 'twistd'; from twisted.scripts.twistd import run; sys.exit(run())"

MODULE = """
from twisted.internet import reactor
from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer
from netconsd.interfaces import IOutputModule, IReloadable

@implementer(IOutputModule, IReloadable)
class Output:
    def __init__(self, *, way: str = "") -> None:
        self.way = way
    def start(self, worker_count):
        if self.way == "raise":
            raise OSError("no such database")
        if self.way == "import":
            import no_such_library.part
        if self.way == "later":
            late = Deferred()
            reactor.callLater(0, late.errback, OSError("no such database"))
            return late
    def handle(self, worker, message): ...
    def stop(self):
        print("stopped", flush=True)
    def reload(self):
        print("reloaded", flush=True)
"""


def options(*arguments: str) -> Options:
    """Parse a command line."""
    parsed = Options()
    parsed.parseOptions(list(arguments))
    return parsed


def refusal(*arguments: str) -> str:
    """Parse a command line that is wrong, and return the text with which twistd would end."""
    with pytest.raises(SystemExit) as caught:
        makeService(options(*arguments))
    assert isinstance(caught.value.code, str), "a text ends with status 1"
    return caught.value.code


class FakeReceiver:
    """Stands for the service; tests decide how its start ends."""

    def __init__(self, modules: Mapping[str, Any] | None = None, settings: Settings | None = None) -> None:
        self.modules = modules
        self.settings = settings
        self.calls: list[str] = []
        self.started: Deferred[None] = Deferred()
        self.stopped: Deferred[None] = Deferred()
        self.bind_error: Exception | None = None
        self.start_error: Exception | None = None

    def privilegedStartService(self) -> None:
        self.calls.append("bind")
        if self.bind_error:
            raise self.bind_error

    def startService(self) -> None:
        self.calls.append("start")
        if self.start_error:
            self.started.errback(self.start_error)

    def stopService(self) -> Deferred[None]:
        self.calls.append("stop")
        return self.stopped

    def reload(self) -> None:
        self.calls.append("reload")


class FakeReactor:
    """Keeps what other threads and signals want to be called."""

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.stopped = False

    def callFromThread(self, function: Any, *arguments: Any) -> None:  # noqa: N802
        self.calls.append((function, arguments))

    def turn(self) -> None:
        while self.calls:
            function, arguments = self.calls.pop(0)
            function(*arguments)

    def stop(self) -> None:
        self.stopped = True


HINT = "--help lists the options; those of twistd itself, such as -n, stand before netconsd"


@pytest.fixture
def receiver() -> FakeReceiver:
    """A receiver whose start the test ends."""
    return FakeReceiver()


@pytest.fixture
def reactor() -> FakeReactor:
    """A reactor that the test turns."""
    return FakeReactor()


@pytest.fixture(autouse=True)
def _process_wide(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put back what belongs to the whole process."""
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    hang_up = signal.getsignal(signal.SIGHUP)
    yield
    assert signal.getsignal(signal.SIGHUP) is hang_up
    signal.signal(signal.SIGHUP, hang_up)


@pytest.fixture
def logged() -> Iterator[Logged]:
    """The texts that netconsd logs, with their levels."""
    with capturedLogs() as events:
        yield lambda: [
            f"{event['log_level'].name}: {formatEvent(event)}"
            for event in events
            if event.get("log_namespace") == "netconsd"
        ]


# -- options ---------------------------------------------------------------------------------------------------------


def test_short_and_long_options() -> None:
    """The short and the long options of the C daemon do the same."""
    short = options("-u", "1", "-a", "::1", "-l", "2", "-w", "3", "-b", "4", "-g", "1000/2000")
    long = options("--port=1", "--address=::1", "--listeners=2", "--workers=3", "--batch=4", "--gc=1000/2000")
    assert short.configuration == long.configuration
    assert long.configuration.settings == Settings(
        port=1, address="::1", listeners=2, workers=3, batch=4, gc_interval=1.0, gc_age=2.0
    )


def test_bounds_are_options() -> None:
    """Every bound is an option, too."""
    parsed = options("--rcvbuf", "4096", "--queue", "5", "--max-sources", "6", "--reorder", "7")
    assert parsed.configuration.settings == Settings(rcvbuf=4096, queue=5, max_sources=6, reorder=0.007)


def test_modules_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--modules may be repeated, and what stands behind the options are modules, too, as with the C daemon."""
    monkeypatch.chdir(tmp_path)
    parsed = options("--modules", "printer", "--modules", "./a.py", "b.so", "c/d.py")
    assert parsed.configuration.modules == ("printer", f"{tmp_path}/a.py", f"{tmp_path}/b.so", f"{tmp_path}/c/d.py")


def test_file_and_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--config names the file and --set may be repeated."""
    (tmp_path / "n.toml").write_text('port = 1\nworkers = 5\nmodules = ["logger"]')
    monkeypatch.chdir(tmp_path)
    configuration = options("--config", "n.toml", "-u2", "--set", "a.b=c", "--set", "a.d=e").configuration
    assert (configuration.settings.port, configuration.settings.workers) == (2, 5)
    assert configuration.modules == ("logger",)
    assert list(configuration.module_settings["a"]) == ["b", "d"]


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    """--help tells every option with its default, on 80 columns, and ends well."""
    for flag in ("--help", "-h"):
        with pytest.raises(SystemExit) as caught:
            options(flag)
        assert caught.value.code == 0
    told = capsys.readouterr().out
    for part in ("--port=", "[default: 1514]", "60000/3600000", "--max-sources=", "--set=", "-w, --workers="):
        assert part in told
    assert max(len(line) for line in told.splitlines()) <= 80


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """--version tells netconsd's."""
    with pytest.raises(SystemExit) as caught:
        options("--version")
    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith("netconsd ")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--port", "70000"], "--port: 70000 is not between 0 and 65535"),
        (["-a", "localhost"], "--address: 'localhost' is not an IPv4 or IPv6 address"),
        (["--set", "x"], "--set: 'x' is not NAME.KEY=VALUE"),
        (["--config", "gone.toml"], "--config: gone.toml: No such file or directory"),
        (
            ["--prot", "1"],
            f"option --prot not recognized ({HINT})",
        ),
        (
            ["--port"],
            f"option --port requires argument ({HINT})",
        ),
        (
            ["x.py", "--port", "1"],
            f"--port: options go before the modules ({HINT})",
        ),
        (["/nowhere/x.py"], "/nowhere/x.py: No such file or directory"),
        (["--set", "printer.colour=x"], '--set printer.colour: no module "printer" was found, only none at all'),
    ],
)
def test_refusals(arguments: list[str], told: str) -> None:
    """What is wrong is said in one message that names it, before anything starts."""
    assert refusal(*arguments) == f"netconsd: {told}"


def test_service(tmp_path: Path, logged: Logged) -> None:
    """The service gets the modules by name and the settings; what of a directory does not start is logged."""
    (tmp_path / "a.py").write_text(MODULE)
    (tmp_path / "b.py").write_text("")
    made: list[FakeReceiver] = []

    def make(modules: Mapping[str, Any], settings: Settings) -> FakeReceiver:
        made.append(FakeReceiver(modules, settings))
        return made[0]

    service = makeService(options("-u", "7", "--set", "a.way=x", str(tmp_path)), receiver=make)
    assert IService.providedBy(service)
    assert made[0].modules is not None
    assert made[0].modules["a"].way == "x"
    assert made[0].settings == Settings(port=7)
    assert logged() == [f"info: Module b ({tmp_path}/b.py) does not start: no output module in it"]


def test_no_modules(logged: Logged) -> None:
    """Without any module the daemon starts and warns."""
    makeService(options(), receiver=FakeReceiver)
    assert logged() == ["warn: There is no output module, so messages go nowhere; try --modules printer"]


def test_plugin() -> None:
    """The plugin is found by twistd, and it leads here."""
    from twisted.application.service import IServiceMaker

    (plugin,) = [plugin for plugin in getPlugins(IServiceMaker) if plugin.tapname == "netconsd"]
    assert plugin.options is Options
    assert plugin.makeService is makeService


# -- start, signals, stop --------------------------------------------------------------------------------------------


def test_start_and_stop(receiver: FakeReceiver, reactor: FakeReactor) -> None:
    """The daemon binds, starts and stops the receiver, and its stop waits for the receiver's."""
    daemon = Daemon(receiver, {}, reactor=reactor)
    daemon.privilegedStartService()
    daemon.startService()
    receiver.started.callback(None)
    stopping = daemon.stopService()
    assert receiver.calls == ["bind", "start", "stop"]
    assert not stopping.called
    receiver.stopped.callback(None)
    assert stopping.called


def test_hang_up(receiver: FakeReceiver, reactor: FakeReactor) -> None:
    """SIGHUP reloads, in the reactor's thread; while the daemon stops it does nothing; then all is as before."""
    before = signal.getsignal(signal.SIGHUP)
    daemon = Daemon(receiver, {}, reactor=reactor)
    daemon.startService()
    os.kill(os.getpid(), signal.SIGHUP)
    assert "reload" not in receiver.calls
    reactor.turn()
    assert receiver.calls == ["start", "reload"]
    stopping = daemon.stopService()
    os.kill(os.getpid(), signal.SIGHUP)
    reactor.turn()
    assert receiver.calls == ["start", "reload", "stop"]
    receiver.stopped.callback(None)
    assert stopping.called
    assert signal.getsignal(signal.SIGHUP) == before


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ConfigError("port: 1514 is in use"), "--port: 1514 is in use"),
        (ConfigError("max_sources: too many"), "--max-sources: too many"),
        (ConfigError("something else"), "something else"),
        (OSError(1, "not permitted"), "PermissionError: [Errno 1] not permitted"),
        (CannotListenError("", 1514, "busy"), "CannotListenError: Couldn't listen on any:1514: busy."),
    ],
)
def test_cannot_bind(
    receiver: FakeReceiver, error: Exception, told: str, logged: Logged, capsys: pytest.CaptureFixture[str]
) -> None:
    """A failure to bind names the option, and prints one line instead of a traceback when it ends the process."""
    receiver.bind_error = error
    with pytest.raises(ConfigError) as caught:
        Daemon(receiver, {"nodaemon": True}).privilegedStartService()
    assert str(caught.value) == told
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "__stderr__", sys.stderr)
        sys.excepthook(type(caught.value), caught.value, None)
    assert capsys.readouterr().err == f"netconsd: {told}\n"
    assert logged() == [], "the log is on the same terminal"


@pytest.mark.parametrize("process", [{"nodaemon": False}, {"nodaemon": True, "logfile": "x"}, {"syslog": True}])
def test_cannot_bind_is_logged(receiver: FakeReceiver, process: dict[str, Any], logged: Logged) -> None:
    """Where the log is not on the terminal, it says what failed, too."""
    receiver.bind_error = ConfigError("port: 1514 is in use")
    with pytest.raises(ConfigError):
        Daemon(receiver, process).privilegedStartService()
    assert logged() == ["critical: --port: 1514 is in use"]


def test_other_exceptions_keep_their_traceback(
    receiver: FakeReceiver, reactor: FakeReactor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only what the daemon explained goes without a traceback; what is a bug of ours is shown in full."""
    shown: list[BaseException] = []
    monkeypatch.setattr(sys, "excepthook", lambda type_, value, traceback: shown.append(value))
    receiver.start_error = ModuleError("x: did not start")
    with pytest.raises(ModuleError):
        Daemon(receiver, {}, reactor=reactor).startService()
    bug = RuntimeError()
    sys.excepthook(RuntimeError, bug, None)
    assert shown == [bug]
    other = FakeReceiver()
    other.start_error = bug
    with pytest.raises(RuntimeError):
        Daemon(other, {}, reactor=reactor).startService()


def test_module_fails_at_once(receiver: FakeReceiver, reactor: FakeReactor) -> None:
    """A module that raises while twistd still waits is reported by twistd; nothing was stopped or left behind."""
    receiver.start_error = ModuleError("x: did not start: OSError: gone")
    with pytest.raises(ModuleError, match=r"^x: did not start: OSError: gone$"):
        Daemon(receiver, {}, reactor=reactor).startService()
    assert not reactor.stopped


def test_module_fails_later(
    receiver: FakeReceiver, reactor: FakeReactor, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A module whose Deferred fails when the reactor runs stops it, says why, and makes the exit status 1."""
    at_exit: list[Any] = []
    monkeypatch.setattr("atexit.register", at_exit.append)
    monkeypatch.setattr(sys, "__stderr__", sys.stderr)
    daemon = Daemon(receiver, {}, reactor=reactor)
    daemon.startService()
    receiver.started.errback(ModuleError("x: did not start: OSError: gone"))
    assert reactor.stopped
    assert capsys.readouterr().err == "netconsd: x: did not start: OSError: gone\n"
    statuses: list[int] = []
    monkeypatch.setattr("os._exit", statuses.append)
    at_exit[0]()
    assert statuses == [1]
    receiver.stopped = succeed(None)
    assert daemon.stopService().called


# -- twistd as a process ---------------------------------------------------------------------------------------------


def command(*arguments: str | Path) -> list[str]:
    """The command line of twistd."""
    return [sys.executable, "-c", TWISTD, *map(str, arguments)]


def environment() -> dict[str, str]:
    """An environment in which the checkout is found from any directory."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}


def twistd(cwd: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run twistd to its end, and to that of the daemon that it leaves behind."""
    # A daemon inherits the pipe, and only its end closes it: the pid file goes after the command has returned.
    reading, writing = os.pipe()
    with os.fdopen(reading) as ended:
        try:
            done = subprocess.run(
                command(*arguments),
                cwd=cwd,
                env=environment(),
                capture_output=True,
                text=True,
                check=False,
                timeout=30,
                pass_fds=[writing],
            )
        finally:
            os.close(writing)
        assert select.select([ended], [], [], 30)[0], f"a daemon still runs after {done}"
    return done


def failed(done: subprocess.CompletedProcess[str], cwd: Path) -> str:
    """Check that a process failed as it should, and return its message."""
    assert done.returncode == 1, done
    assert "Traceback" not in done.stderr
    assert not list(cwd.glob("*.pid")), "the pid file is gone"
    return done.stderr


def test_process_with_a_bad_option(tmp_path: Path) -> None:
    """A port that cannot be ends twistd with status 1 and one line."""
    done = twistd(tmp_path, "-n", "netconsd", "--port", "70000")
    assert done.stdout == ""
    assert failed(done, tmp_path) == "netconsd: --port: 70000 is not between 0 and 65535\n"


def test_process_with_a_broken_module(tmp_path: Path) -> None:
    """All that is wrong with modules is one message, and without -n it is said before twistd becomes a daemon."""
    (tmp_path / "broken.py").write_text("import (")
    for flags in (["-n"], []):
        told = failed(twistd(tmp_path, *flags, "netconsd", "--modules", "broken.py", "gone.py"), tmp_path)
        assert told.startswith("netconsd: 2 things are wrong with the output modules:\n")
        assert f"{tmp_path}/gone.py: No such file or directory" in told
        assert f"{tmp_path}/broken.py:1: SyntaxError: " in told


@pytest.fixture
def busy() -> Iterator[int]:
    """A port that is in use."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def test_process_whose_port_is_in_use(tmp_path: Path, busy: int) -> None:
    """A port in use is one line on stderr, status 1, and no pid file stays."""
    done = twistd(tmp_path, "-n", "netconsd", "-a", "127.0.0.1", "-u", str(busy))
    told = failed(done, tmp_path)
    assert "Traceback" not in done.stdout
    assert told.startswith("netconsd: --port: ")
    assert told.count("\n") == 1
    assert str(busy) in told
    assert "in use" in told


def test_daemon_whose_port_is_in_use(tmp_path: Path, busy: int) -> None:
    """As a daemon the command that started it says so in short and fails, and the log says it in full."""
    done = twistd(tmp_path, "netconsd", "-a", "127.0.0.1", "-u", str(busy))
    told = failed(done, tmp_path)
    assert "--port: " in told
    log = (tmp_path / "twistd.log").read_text()
    assert "Traceback" not in log
    assert f"port {busy} is in use" in log


@pytest.mark.parametrize(
    ("way", "reason"),
    [
        ("raise", "OSError: no such database ({path}:13)"),
        ("later", "OSError: no such database"),
        ("import", "it needs the Python package that provides 'no_such_library', which is not installed"),
    ],
)
def test_process_whose_module_does_not_start(tmp_path: Path, way: str, reason: str) -> None:
    """A module that cannot start, at once or later, ends the process with status 1 and says what it raised."""
    (tmp_path / "x.py").write_text(MODULE)
    done = twistd(tmp_path, "-n", "netconsd", "-u0", "-a127.0.0.1", "--set", f"x.way={way}", "x.py")
    told = failed(done, tmp_path)
    assert told == f"netconsd: x: did not start: {reason.format(path=tmp_path / 'x.py')}\n"


def test_daemon_whose_module_does_not_start(tmp_path: Path) -> None:
    """As a daemon, a module that cannot start makes the command fail and the log say why."""
    (tmp_path / "x.py").write_text(MODULE)
    done = twistd(tmp_path, "netconsd", "-u0", "-a127.0.0.1", "--set", "x.way=raise", "x.py")
    assert "x: did not start: OSError: no such database" in failed(done, tmp_path)
    log = (tmp_path / "twistd.log").read_text()
    assert "x: did not start: OSError: no such database" in log


def test_process_and_signals(tmp_path: Path) -> None:
    """SIGHUP reloads the modules and ends nothing; SIGTERM stops them and takes the pid file away."""
    (tmp_path / "x.py").write_text(MODULE)
    with subprocess.Popen(
        command("-n", "netconsd", "-u0", "-a127.0.0.1", "x.py"),
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            for awaited, number in (("listens on", signal.SIGHUP), ("reloaded", signal.SIGTERM)):
                seen = []
                for line in process.stdout:
                    seen.append(line)
                    if awaited in line:
                        break
                else:
                    pytest.fail("".join(seen))
                process.send_signal(number)
            rest = process.stdout.read()
        finally:
            process.kill()
    assert "stopped" in rest
    assert "Traceback" not in rest
    assert not list(tmp_path.glob("*.pid"))


def test_missing_configuration_is_told_before_the_fork(tmp_path: Path) -> None:
    """A wrong file is told with its line, though twistd was asked to become a daemon."""
    (tmp_path / "n.toml").write_text(
        dedent(
            """
            port = 1514
            worker = 3
            """
        )
    )
    told = failed(twistd(tmp_path, "netconsd", "--config", "n.toml"), tmp_path)
    assert told.startswith('netconsd: n.toml:3: unknown key "worker"; valid are port, ')
    assert told.endswith('did you mean "workers"?\n')
