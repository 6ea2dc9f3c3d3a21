"""netconsd check: the effective settings, or all errors, without starting anything."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from netconsd.cli.check import main
from netconsd.settings import OPTIONS
from tests.support.module_files import FUNCTIONS, HEAD, METHODS, with_settings, written

Capture = pytest.CaptureFixture[str]
#: Options with which any port of this machine is used.
HERE = ("-a127.0.0.1", "-u0")


@pytest.fixture(autouse=True)
def _forgetting(tmp_path: Path) -> Iterator[None]:
    """Forget the modules that a test imported; the command itself ends with its process."""
    with written(tmp_path):
        yield


def test_every_option_with_its_origin(tmp_path: Path, capsys: Capture) -> None:
    """Each option is listed with its value and its origin."""
    file = tmp_path / "n.toml"
    file.write_text(
        'workers = 5\naddress = "127.0.0.1"\nport = 7\nmodules = ["printer"]\n[module.printer]\ncolor = "never"\n'
    )
    assert main(["--config", str(file), "-u", "0"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line[0] for line in lines[: len(OPTIONS)]] == list(OPTIONS)
    assert ["port", "0", "--port"] in lines
    assert ["workers", "5", f"{file}:1"] in lines
    assert ["batch", "512", "default"] in lines
    assert ["color", "=", '"never"', f"{file}:6:", "[module.printer]", "color"] in lines


def test_all_errors(tmp_path: Path, capsys: Capture) -> None:
    """All errors of options, the file and modules are printed, and the status is 1."""
    (tmp_path / "broken.py").write_text("import (")
    file = tmp_path / "n.toml"
    file.write_text('colour = 1\nworkers = 0\nmodules = ["broken.py", "logger"]\n')
    assert main(["--config", str(file), "-u", "70000", "--set", "nothing"]) == 1
    output = capsys.readouterr()
    assert output.out == ""
    for text in (
        f'netconsd check: {file}:1: unknown key "colour"',
        f"netconsd check: {file}:2: workers: 0 ",
        "netconsd check: --port: 70000 ",
        "netconsd check: --set: 'nothing' is not NAME.KEY=VALUE\n",
        "broken.py:1: ",
        '"directory"',
    ):
        assert text in output.err


def test_the_file_of_names(tmp_path: Path, capsys: Capture) -> None:
    """A file of names that cannot be read, or has a malformed line, is an error."""
    assert main(["--hosts-file", str(tmp_path / "gone"), "printer"]) == 1
    assert f"netconsd check: --hosts-file: cannot read {tmp_path}/gone: No such file" in capsys.readouterr().err
    (tmp_path / "names").write_text("web1 192.0.2.1\n")
    assert main(["--hosts-file", str(tmp_path / "names"), "printer"]) == 1
    assert f"--hosts-file: {tmp_path}/names:1: " in capsys.readouterr().err


def test_nothing_is_started(tmp_path: Path, capsys: Capture) -> None:
    """No directory is created, and no module is started."""
    (tmp_path / "x.py").write_text(FUNCTIONS.replace("(worker_count): ...", "(worker_count): raise OSError"))
    logs = tmp_path / "logs/deep"
    assert main([*HERE, "--set", f"logger.directory={logs}", "logger", f"{tmp_path}/x.py"]) == 0
    assert not logs.parent.exists()


def test_a_port_in_use(capsys: Capture) -> None:
    """A port in use is an error that names its option, except with --running; --listeners changes nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken, socket.create_server(("127.0.0.1", 0)) as web:
        # As with several listeners of a daemon, which share their port with any other such socket.
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind(("127.0.0.1", 0))
        arguments = ["-a127.0.0.1", f"-u{taken.getsockname()[1]}", "--listeners=2", "printer"]
        arguments += ["--metrics", str(web.getsockname()[1])]
        assert main(arguments) == 1
        udp, tcp = capsys.readouterr().err.splitlines()
        assert main([*arguments, "--running"]) == 0
    assert udp.startswith(f"netconsd check: --port: address 127.0.0.1, port {taken_port(arguments)} is in use already")
    assert udp.endswith("netconsd check --running")
    assert tcp.startswith("netconsd check: --metrics: ")


def taken_port(arguments: list[str]) -> str:
    """Return the value of -u."""
    return next(argument[2:] for argument in arguments if argument.startswith("-u"))


@pytest.mark.parametrize("flags", [[], ["--running"]])
def test_a_foreign_address(flags: list[str], tmp_path: Path, capsys: Capture) -> None:
    """An address of another machine is an error with the place of the value, beside a running daemon as well."""
    file = tmp_path / "n.toml"
    # RFC 5737: an address for documentation.
    file.write_text('port = 0\naddress = "192.0.2.77"\nmodules = ["printer"]')
    assert main(["--config", str(file), *flags]) == 1
    assert capsys.readouterr().err.startswith(f"netconsd check: {file}:2: address: address 192.0.2.77, port 0 cannot")


def test_modules_that_would_not_start(tmp_path: Path, capsys: Capture) -> None:
    """A module says why it would not start: with a line for each reason, and an unexpected exception with its line."""
    code = HEAD.replace("IReloadable", "IReloadable, ICheckable") + (
        "@implementer(IOutputModule, ICheckable)\nclass Output:" + METHODS + "    def check(self):\n        {}\n"
    )
    group = "raise ExceptionGroup('x', [ValueError('no disk'), ExceptionGroup('y', [RuntimeError('no net')])])"
    (tmp_path / "a.py").write_text(code.format(group))
    (tmp_path / "b.py").write_text(code.format("import surely_not_there"))
    (tmp_path / "c.py").write_text(code.format("1 / 0"))
    assert main([*HERE, str(tmp_path)]) == 1
    line = code.split("\n").index("        {}") + 1
    assert capsys.readouterr().err.splitlines() == [
        f"netconsd check: module {text}"
        for text in (
            "a would not start: no disk",
            "a would not start: no net",
            "b would not start: it needs the Python package that provides 'surely_not_there', which is not installed",
            f"c would not start: ZeroDivisionError: division by zero ({tmp_path}/c.py:{line})",
        )
    ]


def test_the_logger(tmp_path: Path, capsys: Capture) -> None:
    """The logger reports a directory that cannot be made, unreadable files and malformed patterns."""
    (tmp_path / "file").write_text("")
    paths = {"directory": "file/logs", "ignore": "gone"}
    sets = [f"--set=logger.{name}={tmp_path / path}" for name, path in paths.items()]
    assert main([*HERE, *sets, "--set=logger.keep=a(", "logger"]) == 1
    pattern, *errors = capsys.readouterr().err.splitlines()
    assert pattern.startswith("netconsd check: --set logger.keep: is not a regular expression")
    assert errors == [
        f"netconsd check: --set logger.directory: cannot write in {tmp_path}/file/logs: Not a directory",
        f"netconsd check: --set logger.ignore: cannot read {tmp_path}/gone: No such file or directory",
    ]


def test_two_modules_on_the_standard_output(tmp_path: Path, capsys: Capture) -> None:
    """Only one module can have the standard output; the check releases it, so that a second one finds the same."""
    for _ in range(2):
        assert main([*HERE, "jsonl", "printer"]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert "module printer would not start: the module jsonl already writes to standard output" in line
    assert main([*HERE, f"--set=jsonl.file={tmp_path / 'log.jsonl'}", "jsonl", "printer"]) == 0
    assert main([*HERE, f"--set=jsonl.file={tmp_path}", "jsonl"]) == 1
    assert f"cannot write {tmp_path}: it is not a regular file" in capsys.readouterr().err


def test_no_module(tmp_path: Path, capsys: Capture) -> None:
    """Without a module that would start, messages would be dropped, which is an error."""
    (tmp_path / "empty.py").write_text("")
    assert main([*HERE, str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith("netconsd check: no output module is named, ")


def test_available_modules(tmp_path: Path, capsys: Capture) -> None:
    """The modules of a directory that would not start are listed, with the reason."""
    (tmp_path / "empty.py").write_text("")
    (tmp_path / "needy.py").write_text(with_settings("*", "size: int"))
    assert main([*HERE, str(tmp_path), "printer"]) == 0
    output = capsys.readouterr().out
    assert f"not used: {tmp_path}/empty.py: no output module in it\n" in output
    assert "available, not started: needy (set needy.size)\n" in output


def test_quiet(capsys: Capture) -> None:
    """With --quiet nothing is printed if there is no error."""
    assert main([*HERE, "-q", "printer"]) == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help(capsys: Capture, flag: str) -> None:
    """Its help has its own usage, and the options of the daemon."""
    with pytest.raises(SystemExit) as caught:
        main([flag])
    assert caught.value.code == 0
    output = capsys.readouterr().out
    assert output.startswith("Usage: netconsd check [options] [MODULE ...]\n")
    assert "--max-sources=" in output


def test_unknown_option() -> None:
    """The error about an unknown option names this command instead of twistd."""
    with pytest.raises(SystemExit) as caught:
        main(["--prot", "1"])
    assert caught.value.code == (
        "netconsd: there is no option --prot; did you mean --port? (netconsd check --help lists the options)"
    )


SENDER = """
from zope.interface import implementer
from netconsd.interfaces import IOutputModule, ISends

@implementer(IOutputModule, ISends)
class Sender:
    def __init__(self, *, answer: str = ""):
        self.answer = answer
    def start(self, worker_count): ...
    def handle(self, worker, message): ...
    def stop(self): ...
    def send_test(self):
        if not self.answer:
            raise RuntimeError("503\\n\\x1b[31mbusy")
        return self.answer
"""


@pytest.mark.parametrize(("answer", "status"), [("200 OK", 0), ("", 1)])
def test_send_delivers_a_test_record(tmp_path: Path, capsys: Capture, answer: str, status: int) -> None:
    """With --send, the server's answer is printed, harmless, or the reason for which there is none."""
    (tmp_path / "sender.py").write_text(SENDER)
    arguments = [*HERE, "--quiet", "--set", f"sender.answer={answer}", str(tmp_path / "sender.py")]
    assert main(["--send", *arguments]) == status
    output = capsys.readouterr()
    if answer:
        assert output.out == "module sender: the test record was delivered: 200 OK\n"
    else:
        assert output.err.endswith("503 \\x1b[31mbusy\n")
    # Without the option, nothing is sent.
    assert main(arguments) == 0
    assert capsys.readouterr().out == ""


def test_send_without_a_module_that_sends(capsys: Capture) -> None:
    """--send with modules that send nothing is an error, so that nobody takes the silence for success."""
    assert main([*HERE, "--send", "printer"]) == 1
    assert "--send: no module" in capsys.readouterr().err
