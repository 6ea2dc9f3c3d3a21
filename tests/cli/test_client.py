"""netconsd client prints a script, or an error of one line."""

from __future__ import annotations

import socket
import subprocess
from typing import Any

import pytest

from netconsd.cli.client import main
from netconsd.crash.arrival import rules
from tests.client.scripts import script
from tests.support.tools import require


def head(*arguments: str) -> list[str]:
    """The variables at the top of the script."""
    lines = script(*arguments).splitlines()
    assert lines[0] == "#!/bin/sh"
    return lines[1:15]


def error_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The error for these arguments; the status must be 2, and no script printed."""
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    last: str = err.splitlines()[-1]
    return last.removeprefix("netconsd client: error: ")


def test_defaults() -> None:
    """The variables at the top of the script if only the server is given."""
    assert head("--server", "192.0.2.9") == [
        "ACTION=setup",
        "NAME=netconsd",
        "SERVER=192.0.2.9",
        "FAMILY=4",
        "PORT=1514",
        "INTERFACE=''",
        "SOURCE_PORT=6665",
        "EXTENDED=1",
        "USERDATA=''",
        "SYSDATA=''",
        "LOGLEVEL=''",
        f"PANIC_ARRIVES='{' '.join(rules())}'",
        "PERSIST=''",
        "TEST=1",
    ]


def test_all_options() -> None:
    """Every option has its variable; values are quoted for the shell, sysdata is in the kernel's order."""
    arguments = [
        *("--server", "2001:DB8::9", "--port", "1600", "--interface", "br-lan", "--source-port", "6700"),
        *("--name", "lab", "--userdata", "rack=r17 'b'", "--userdata", "role=a=b", "--sysdata", "msgid,cpu_nr"),
        *("--loglevel", "8", "--persist", "--no-test"),
    ]
    assert script(*arguments).startswith(
        "#!/bin/sh\nACTION=setup\nNAME=lab\nSERVER=2001:db8::9\nFAMILY=6\nPORT=1600\nINTERFACE=br-lan\n"
        "SOURCE_PORT=6700\nEXTENDED=1\nUSERDATA='rack=r17 '\"'\"'b'\"'\"'\nrole=a=b'\nSYSDATA='cpu_nr msgid'\n"
        f"LOGLEVEL=8\nPANIC_ARRIVES='{' '.join(rules())}'\nPERSIST=1\nTEST=''\nstored_script() {{\n"
    )


@pytest.mark.parametrize(("option", "action"), [("--print", "print"), ("--remove", "remove")])
def test_action(option: str, action: str) -> None:
    """``--print`` and ``--remove`` store nothing and send no test line, despite other options."""
    variables = head("--server", "192.0.2.9", "--persist", option)
    assert variables[0] == f"ACTION={action}"
    assert variables[-2:] == ["PERSIST=''", "TEST=''"]
    assert "stored_script() {" not in script("--server", "192.0.2.9", "--persist", option)


def test_remove_needs_no_server() -> None:
    """``--remove`` needs no server."""
    assert "SERVER=''" in head("--remove")


def test_sysdata_all() -> None:
    """``all`` stands for all fields that the kernel can add."""
    assert "SYSDATA='cpu_nr taskname release msgid'" in head("--server", "192.0.2.9", "--sysdata", "all")


def test_name_of_the_server(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A host name is resolved, and its address printed on stderr."""

    def resolve(name: str, *_: Any, **__: Any) -> list[Any]:
        return [(socket.AF_INET6, 0, 0, "", (f"2001:db8::{len(name)}", 0, 0, 0))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    assert "SERVER=2001:db8::12" in head("--server", "logs.example")
    assert capsys.readouterr().err == "netconsd client: logs.example is 2001:db8::12\n"


def test_mapped_address() -> None:
    """An IPv4-mapped IPv6 address is taken as IPv4."""
    assert head("--server", "::ffff:192.0.2.9")[2:4] == ["SERVER=192.0.2.9", "FAMILY=4"]


def test_no_such_name(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A name that cannot be resolved is refused."""

    def resolve(*_: Any, **__: Any) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    assert error_of(capsys, "--server", "logs.example").startswith("--server: 'logs.example' is neither an address nor")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "missing option: --server ADDRESS"),
        (["--server", "127.0.0.1"], "127.0.0.1 is the sending machine itself"),
        (["--server", "::1"], "::1 is the sending machine itself"),
        (["--server", "224.0.0.1"], "224.0.0.1 is not the address of one machine"),
        (["--server", "255.255.255.255"], "255.255.255.255 is not the address of one machine"),
        (["--server", "::"], ":: is not the address of one machine"),
        (["--server", "fe80::1%eth0"], "use --interface"),
        (["--server", "a\0b"], "is neither an address"),
        (["--port", "0"], "0 is not from 1 to 65535"),
        (["--port", "65536"], "65536 is not from 1 to 65535"),
        (["--source-port", "x"], "'x' is not a number"),
        (["--loglevel", "9"], "9 is not from 1 to 8"),
        (["--loglevel", "\u0664"], "is not a number"),
        (["--name", "../x"], "'../x' is not a name"),
        (["--name", "a" * 33], "is not a name"),
        (["--name", "x\n"], "is not a name"),
        (["--interface", "eth0;reboot"], "cannot be the name of an interface"),
        (["--interface", "a" * 16], "cannot be the name of an interface"),
        (["--interface", ".."], "cannot be the name of an interface"),
        (["--interface", "eth0\n"], "cannot be the name of an interface"),
        (["--userdata", "rack"], "'rack' is not KEY=VALUE"),
        (["--userdata", "rack="], "'rack=' is not KEY=VALUE"),
        (["--userdata", "=r17"], "'=r17' is not KEY=VALUE"),
        (["--userdata", "a/b=c"], "the key 'a/b' must be ASCII"),
        (["--userdata", "..=c"], "the key '..' must be ASCII"),
        (["--userdata", "a\n=c"], "the key 'a\\n' must be ASCII"),
        (["--userdata", "k\u00e9=c"], "must be ASCII"),
        (["--userdata", "msgid=7"], "the kernel itself uses the name msgid"),
        (["--userdata", "k=a\nEND_OF_STORED_SCRIPT"], "the value of k contains a control character"),
        (["--userdata", "k=\udcff"], "the value of k is not UTF-8"),
        (["--userdata", "k" * 54 + "=v"], "is longer than 53"),
        (["--userdata", "k=" + "v" * 200], "the value of k has 200 bytes; the kernel accepts 199"),
        (["--userdata", "k=" + "\u00e9" * 100], "the value of k has 200 bytes; the kernel accepts 199"),
        (["--userdata", "k=1", "--userdata", "k=2"], "two values for one key"),
        (["--sysdata", "cpu"], "'cpu' is not one of cpu_nr, taskname, release, msgid, all"),
        (["--legacy", "--sysdata", "all"], "omit --legacy"),
        (["--legacy", "--userdata", "k=v"], "omit --legacy"),
        (["--print", "--remove"], "not allowed with"),
    ],
)
def test_refused(arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong option is an error of one line with the bound that it violates."""
    if arguments and "--server" not in arguments:
        arguments = ["--server", "192.0.2.9", *arguments]
    assert text in error_of(capsys, *arguments)


def test_largest_userdata() -> None:
    """The kernel's bounds themselves are allowed: 256 items, 53 characters, 199 bytes."""
    items = [f"--userdata={'k' * 50}{number:03}={'v' * 199}" for number in range(256)]
    script("--server", "192.0.2.9", *items)


def test_too_many_userdata(capsys: pytest.CaptureFixture[str]) -> None:
    """One more is refused."""
    items = [f"--userdata=k{number}=v" for number in range(257)]
    assert error_of(capsys, "--server", "192.0.2.9", *items) == "--userdata: the kernel accepts at most 256"


@pytest.mark.parametrize("arguments", [["--persist"], ["--print"], ["--remove"]])
def test_shellcheck(arguments: list[str]) -> None:
    """The script passes shellcheck."""
    require("shellcheck")
    text = script("--server", "192.0.2.9", *arguments)
    done = subprocess.run(["shellcheck", "-"], input=text, capture_output=True, text=True, timeout=50, check=False)
    assert done.stdout == ""
