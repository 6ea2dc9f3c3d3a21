"""``netconsd client``: prints the shell script that makes a machine send its kernel log."""

from __future__ import annotations

import argparse
import shlex
import socket
import sys
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

from netconsd.cli.clientvalues import SYSDATA, interface_name, system_data, target_name, userdata
from netconsd.cli.numbers import within
from netconsd.crash.arrival import rules
from netconsd.daemon.stdout import put

#: The files of the script, in order; the last one calls the functions of the others.
PARTS = ("client", "client-way", "client-netconsole", "client-panic", "client-boot", "client-main")
#: Ends the stored copy of the script. No earlier line can equal it, because every value that a user chooses follows a
#: ``=`` in its line.
END = "END_OF_STORED_SCRIPT"
USERDATA_ITEMS = 256  # the kernel's bound; older kernels accept 16, which the script reports
EPILOG = """\
Run the script as root on the machine that is to send:

  netconsd client --server 192.0.2.1 | ssh host sudo sh

The same with --remove undoes it. The script can be read before it is run, and be run again at any time."""


def main(arguments: Sequence[str] | None = None, prog: str = "netconsd client") -> int:
    """Print the script, for a POSIX shell on the sending machine.

    A host name of the server is resolved here: the kernel accepts only addresses, and the sender may resolve the name
    differently.

    :raises SystemExit: with status 2 and one line for the user, if an option is wrong.
    """
    parser = _parser(prog)
    options = parser.parse_args(arguments)
    if options.server is None and not options.remove:
        parser.error("missing option: --server ADDRESS")
    if options.legacy and (options.userdata or options.sysdata):
        parser.error("userdata and sysdata need the extended format: omit --legacy")
    if len(dict(options.userdata)) < len(options.userdata):
        parser.error("--userdata: two values for one key")
    if len(options.userdata) > USERDATA_ITEMS:
        parser.error(f"--userdata: the kernel accepts at most {USERDATA_ITEMS}")
    address = None
    if options.server is not None and not options.remove:
        try:
            address = _address(options.server)
        except ValueError as error:
            parser.error(f"--server: {error}")
        if str(address) != options.server:
            print(f"{prog}: {options.server} is {address}", file=sys.stderr)
    # As UTF-8, independent of the terminal's encoding, because another machine reads it.
    put(_script(options, address).encode(), prog)
    return 0


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Print a shell script that makes a Linux machine send its kernel log to netconsd.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )

    def option(name: str, kind: Callable[[str], object], metavar: str, text: str, default: object = None) -> None:
        parser.add_argument(name, type=kind, metavar=metavar, help=text, default=default)

    port = within(int, 1, 65535)
    option("--server", str, "ADDRESS", "netconsd's machine: an address, or a name, which is resolved here")
    option("--port", port, "N", "netconsd's UDP port (default: 1514)", 1514)
    option("--interface", interface_name, "NAME", "send through this interface (default: that of the route)")
    option("--source-port", port, "N", "send from this UDP port (default: 6665)", 6665)
    option("--name", target_name, "NAME", "name of the target; each is independent (default: netconsd)", "netconsd")
    parser.add_argument("--legacy", action="store_true", help="plain text without level and number (not recommended)")
    text = "add this to every message; kernel 6.9 or later (repeatable)"
    parser.add_argument("--userdata", type=userdata, action="append", metavar="KEY=VALUE", default=[], help=text)
    option("--sysdata", system_data, "LIST", f"fields that the kernel adds: {','.join(SYSDATA)}, or all", ())
    option("--loglevel", within(int, 1, 8), "N", "console log level: lower levels are sent; 8 sends all")
    parser.add_argument("--persist", action="store_true", help="also set up at every boot")
    parser.add_argument("--no-test", action="store_true", help="send no test line")
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--print", action="store_true", help="the script only prints netconsole's module parameter")
    action.add_argument("--remove", action="store_true", help="the script undoes its set-up under this --name")
    return parser


def _address(server: str) -> IPv4Address | IPv6Address:
    """The address of a server, from an address or a name.

    :raises ValueError: with a text for the user, if there is none, or netconsole cannot send to it.
    """
    if "%" in server:
        raise ValueError("omit the % and the interface after it, and use --interface")
    try:
        address = ip_address(server)
    except ValueError:
        try:
            resolved = socket.getaddrinfo(server, None, type=socket.SOCK_DGRAM)
        except (OSError, UnicodeError) as error:
            raise ValueError(f"{server!r} is neither an address nor a known name: {error}") from None
        address = ip_address(str(resolved[0][4][0]).partition("%")[0])
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if address.is_multicast or address.is_unspecified or address == IPv4Address("255.255.255.255"):
        raise ValueError(f"{address} is not the address of one machine")
    if address.is_loopback:
        raise ValueError(f"{address} is the sending machine itself; use the address at which it reaches the server")
    return address


def _script(options: argparse.Namespace, address: IPv4Address | IPv6Address | None) -> str:
    action = "print" if options.print else "remove" if options.remove else "setup"
    body = "".join(Path(__file__).with_name(f"{part}.sh").read_text("utf-8") + "\n" for part in PARTS)
    script = "#!/bin/sh\n" + _variables(options, address, action)
    if action == "setup" and options.persist:
        stored = "#!/bin/sh\n" + _variables(options, address, "boot") + body
        script += f"stored_script() {{\n    cat <<'{END}'\n{stored}{END}\n}}\n"
    return script + body


def _variables(options: argparse.Namespace, address: IPv4Address | IPv6Address | None, action: str) -> str:
    """The variables at the top of the script. Every value that a user chose is quoted for the shell."""
    values = {
        "ACTION": action,
        "NAME": options.name,
        "SERVER": address or "",
        "FAMILY": address.version if address else "",
        "PORT": options.port,
        "INTERFACE": options.interface or "",
        "SOURCE_PORT": options.source_port,
        "EXTENDED": "" if options.legacy else 1,
        "USERDATA": "\n".join(f"{key}={value}" for key, value in options.userdata),
        "SYSDATA": " ".join(options.sysdata),
        "LOGLEVEL": options.loglevel or "",
        "PANIC_ARRIVES": " ".join(rules()),
        "PERSIST": 1 if options.persist and action == "setup" else "",
        "TEST": 1 if action == "setup" and not options.no_test else "",
    }
    return "".join(f"{name}={shlex.quote(str(value))}\n" for name, value in values.items())
