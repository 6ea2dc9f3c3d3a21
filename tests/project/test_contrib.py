"""systemd accepts the shipped units, and they fit the daemon."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from netconsd.cli.check import main as check
from netconsd.cli.nctx import main as nctx
from netconsd.daemon.config import configure
from netconsd.outputs.loader import SHIPPED
from netconsd.outputs.modulefile import forget, import_file, outputs_in
from netconsd.outputs.parameters import parameters
from netconsd.settings import Settings
from netconsd.store.journal import FILE_MODE
from netconsd.store.layout import DIRECTORY_MODE, SERVICE_STORE, default_directory
from netconsd.units import Duration, Size
from tests.support.module_files import written

ROOT = Path(__file__).parents[2]
SYSTEMD = ROOT / "contrib/systemd"
EXAMPLE = ROOT / "docs/examples/netconsd.toml"
# systemd's own scale from 0 to 10, where 10 is a service without any confinement.
EXPOSURE = 1.5

Tool = Callable[..., str]


def tool(name: str) -> Tool:
    """A program of systemd; without it the test is skipped, except in CI."""
    program = shutil.which(name)
    if program is None:
        assert "NETCONSD_REQUIRE_SYSTEMD" not in os.environ, f"there is no {name}"
        pytest.skip(f"there is no {name}")

    def run(*arguments: str | Path) -> str:
        result = subprocess.run([program, *arguments], capture_output=True, text=True, check=False, timeout=30)
        assert result.returncode == 0, result
        return result.stdout + result.stderr

    return run


def values(unit: str) -> dict[str, str]:
    """The assignments of a unit, the last one of each name."""
    text = (SYSTEMD / unit).read_text()
    return dict(re.findall(r"^([A-Za-z]+)=(.*)$", text, re.MULTILINE))


@pytest.fixture
def units(tmp_path: Path) -> list[Path]:
    """Copies of the units whose program exists."""
    copies = []
    for name in ("netconsd.service", "netconsd.socket"):
        text = (SYSTEMD / name).read_text().replace("/opt/netconsd/bin/netconsd", sys.executable)
        copies.append(tmp_path / name)
        copies[-1].write_text(text)
    return copies


def test_units_are_accepted(units: list[Path]) -> None:
    """Systemd accepts the units without a warning."""
    assert tool("systemd-analyze")("verify", "--man=no", *units) == ""


def test_service_is_confined(units: list[Path]) -> None:
    """Systemd rates the service as well confined."""
    output = tool("systemd-analyze")("security", "--offline=true", units[0])
    level = re.search(r"exposure level for netconsd.service: ([0-9.]+)", output)
    assert level
    assert float(level[1]) <= EXPOSURE


def test_unit_of_the_sender_is_accepted(tmp_path: Path) -> None:
    """Systemd accepts nctx.service without a warning, and rates it as well confined."""
    unit = tmp_path / "nctx.service"
    unit.write_text((SYSTEMD / "nctx.service").read_text().replace("/opt/netconsd/bin/nctx", sys.executable))
    assert tool("systemd-analyze")("verify", "--man=no", unit) == ""
    output = tool("systemd-analyze")("security", "--offline=true", unit)
    level = re.search(r"exposure level for nctx.service: ([0-9.]+)", output)
    assert level
    # Above EXPOSURE, because it sees /dev/kmsg, and has CAP_SYSLOG to read it.
    assert float(level[1]) <= 2.0


def test_unit_of_the_sender_can_read_the_log(tmp_path: Path) -> None:
    """Nothing in nctx.service hides /dev/kmsg, and nctx accepts its command line."""
    unit = values("nctx.service")
    assert unit["DeviceAllow"] == "/dev/kmsg r"
    assert not {"PrivateDevices", "ProtectKernelLogs", "PrivateUsers"} & set(unit)
    (tmp_path / "empty").touch()
    assert nctx([*unit["ExecStart"].split()[1:], "-k", str(tmp_path / "empty"), "-p", "0"]) == 0


def test_user_is_accepted() -> None:
    """Systemd can create the service's user."""
    conf = SYSTEMD / "sysusers.d/netconsd.conf"
    tool("systemd-sysusers")("--dry-run", conf)
    assert f"\nu {values('netconsd.service')['User']} - " in conf.read_text()


def test_directories() -> None:
    """tmpfiles, the unit and the example configuration name the same directories."""
    lines = [line.split() for line in (SYSTEMD / "tmpfiles.d/netconsd.conf").read_text().splitlines()]
    directories = {line[1]: line[2:5] for line in lines if line[0] == "d"}
    service = values("netconsd.service")
    logs = f"/var/log/{service['LogsDirectory']}"
    state = f"/var/lib/{service['StateDirectory']}"
    assert directories == {
        "/etc/netconsd": ["0755", "root", "root"],
        logs: [service["LogsDirectoryMode"], service["User"], service["Group"]],
        state: [service["StateDirectoryMode"], service["User"], service["Group"]],
    }
    assert default_directory({"STATE_DIRECTORY": state}) == SERVICE_STORE
    assert int(service["StateDirectoryMode"], 8) == DIRECTORY_MODE
    # Files are readable by the group, whatever the umask removes.
    assert FILE_MODE & ~int(service["UMask"], 8) == FILE_MODE
    assert configure({}, config=str(EXAMPLE)).module_settings["logger"]["directory"].value == logs


def test_the_compactor_may_lower_its_priority() -> None:
    """A call that the unit does not allow ends the process. The compactor makes one of a group that is not allowed."""
    assert "setpriority" in tool("systemd-analyze")("syscall-filter", "@resources").split()
    filters = re.findall(r"^SystemCallFilter=(.*)$", (SYSTEMD / "netconsd.service").read_text(), re.MULTILINE)
    assert filters == ["@system-service", "~@privileged @resources", "setpriority"]


def test_socket_has_the_defaults_of_the_daemon() -> None:
    """The socket unit has the port and the receive buffer of the daemon's defaults."""
    socket = values("netconsd.socket")
    assert socket["ListenDatagram"] == str(Settings().port)
    megabytes = re.fullmatch(r"(\d+)M", socket["ReceiveBuffer"])
    assert megabytes
    assert int(megabytes[1]) * 1024 * 1024 == Settings().rcvbuf


def test_sockets_of_one_port_share_it() -> None:
    """Equal lines of the socket unit are listeners of one port, and an address may be missing at boot."""
    socket = values("netconsd.socket")
    assert (socket["ReusePort"], socket["FreeBind"]) == ("yes", "yes")


@pytest.mark.parametrize("unit", ["netconsd.service", "nctx.service"])
def test_calls_that_are_not_allowed_fail(unit: str) -> None:
    """A system call that a library tries in vain fails, instead of killing the process."""
    assert values(unit)["SystemCallErrorNumber"] == "EPERM"


def test_reload() -> None:
    """A reload sends SIGHUP and checks the configuration. With Type=notify-reload, systemd sends SIGHUP itself."""
    commands = re.compile(r"^ExecReload=(.*)$", re.MULTILINE)
    hangup, check_again = commands.findall((SYSTEMD / "netconsd.service").read_text())
    assert hangup == "/bin/sh -c 'kill -HUP ${MAINPID}'"
    assert check_again == values("netconsd.service")["ExecStartPre"]
    # The empty one removes both.
    assert commands.findall((SYSTEMD / "notify-reload.conf").read_text()) == ["", check_again]
    assert (values("netconsd.service")["Type"], values("notify-reload.conf")["Type"]) == ("notify", "notify-reload")


def test_timeout_of_a_stop() -> None:
    """Systemd waits longer than the daemon waits for its workers and then for a module."""
    seconds = re.fullmatch(r"(\d+)s", values("netconsd.service")["TimeoutStopSec"])
    assert seconds
    assert int(seconds[1]) > 2 * Settings().stop_timeout


def test_command_line_of_the_service(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The daemon accepts the command line of the service, with the example as its configuration."""
    program, command, *arguments = values("netconsd.service")["ExecStart"].split()
    assert program.endswith("/netconsd")
    assert (command, arguments) == ("run", ["--config", "/etc/netconsd/netconsd.toml"])
    with written(tmp_path):
        # A daemon of this machine can have the port.
        assert check(["--running", "--config", str(EXAMPLE)]) == 0
    assert "module logger" in capsys.readouterr().out


@pytest.mark.parametrize("module", ["logger", "printer", "store"])
def test_settings_of_the_example_are_the_defaults(module: str) -> None:
    """The example sets each optional setting of a module to its default."""
    imported = import_file(SHIPPED / f"{module}.py")
    (output,) = outputs_in(imported, SHIPPED / f"{module}.py")
    assert isinstance(output.source, type)
    known = {parameter.name: parameter for parameter in parameters(output.source)}
    forget(imported)
    settings = configure({}, config=str(EXAMPLE)).module_settings.get(module, {})
    for name, setting in settings.items():
        default: Any = known[name].default
        value: Any = setting.value
        if isinstance(default, Duration | Size):
            value = type(default)(value)
        assert known[name].required or default == value, name


def test_every_option_of_the_example_is_explained() -> None:
    """A comment precedes each option or the group of options it is in."""
    lines = EXAMPLE.read_text().partition("[module")[0].splitlines()
    for number, line in enumerate(lines):
        if re.match(r"[a-z-]+ = ", line):
            assert lines[number - 1].startswith("#"), line
