"""``netconsd client``: the shell script that lets a machine send its kernel log."""

from __future__ import annotations

import argparse
import shlex
import socket
import sys
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

from netconsd.cli.clientvalues import SYSDATA, interface_name, system_data, target_name, userdata
from netconsd.cli.numbers import whole_number
from netconsd.daemon.stdout import put

__all__ = ["main"]

#: The parts of the script, in their order; the last one runs what the others define.
PARTS = ("client", "client-way", "client-netconsole", "client-boot", "client-main")
#: Ends the copy of itself that a script stores. No line before it can be the same, for all that users choose stands
#: behind a ``=`` in its line.
END = "END_OF_STORED_SCRIPT"
USERDATA_ITEMS = 256  # the kernel's bound; earlier kernels take 16, which the script finds out
EPILOG = """\
On the machine that shall send, as root:

  netconsd client --server 192.0.2.1 | ssh host sudo sh

The same with --remove undoes it. The script may be read before it is run, and be run again at any time."""


def main(arguments: Sequence[str] | None = None, prog: str = "netconsd client") -> int:
    """Print the script, for a POSIX shell on the machine that shall send.

    A host name of the server is resolved here: the kernel takes numbers only, and the sender may know other names.

    :raises SystemExit: with status 2 and one line for the user, if an option is wrong.
    """
    parser = _parser(prog)
    options = parser.parse_args(arguments)
    if options.server is None and not options.remove:
        parser.error("the server is missing: --server ADDRESS")
    if options.legacy and (options.userdata or options.sysdata):
        parser.error("userdata and sysdata need the extended format: leave out --legacy")
    if len(dict(options.userdata)) < len(options.userdata):
        parser.error("--userdata: there are two values for a key")
    if len(options.userdata) > USERDATA_ITEMS:
        parser.error(f"--userdata: the kernel takes at most {USERDATA_ITEMS}")
    address = None
    if options.server is not None and not options.remove:
        try:
            address = _address(options.server)
        except ValueError as error:
            parser.error(f"--server: {error}")
        if str(address) != options.server:
            print(f"{prog}: {options.server} is {address}", file=sys.stderr)
    # As UTF-8, whatever the terminal's encoding is: it goes to another machine.
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

    port = whole_number(1, 65535)
    option(
        "--server", str, "ADDRESS", "the machine that netconsd runs on: an address, or a name, which is resolved here"
    )
    option("--port", port, "N", "its UDP port (1514)", 1514)
    option("--interface", interface_name, "NAME", "send through this interface (by default the one of the route)")
    option("--source-port", port, "N", "send from this UDP port (6665)", 6665)
    option("--name", target_name, "NAME", "name of the target; each is set up by itself (netconsd)", "netconsd")
    parser.add_argument("--legacy", action="store_true", help="bare text, without level and number (not advised)")
    text = "say this with every message, kernel 6.9 or later (repeatable)"
    parser.add_argument("--userdata", type=userdata, action="append", metavar="KEY=VALUE", default=[], help=text)
    option("--sysdata", system_data, "LIST", f"facts that the kernel adds: {','.join(SYSDATA)}, or all", ())
    option("--loglevel", whole_number(1, 8), "N", "console log level: send what is below it; 8 sends all")
    parser.add_argument("--persist", action="store_true", help="do it at every boot, too")
    parser.add_argument("--no-test", action="store_true", help="do not send a test line")
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--print", action="store_true", help="the script only prints netconsole's module parameter")
    action.add_argument("--remove", action="store_true", help="the script undoes all that it did under that --name")
    return parser


def _address(server: str) -> IPv4Address | IPv6Address:
    """The address of a server given by address or name.

    :raises ValueError: for the user, if there is none, or netconsole cannot send to it.
    """
    if "%" in server:
        raise ValueError("leave out the % and what follows, and name the interface with --interface")
    try:
        address = ip_address(server)
    except ValueError:
        try:
            found = socket.getaddrinfo(server, None, type=socket.SOCK_DGRAM)
        except (OSError, UnicodeError) as error:
            raise ValueError(f"{server!r} is no address, and has none: {error}") from None
        address = ip_address(str(found[0][4][0]).partition("%")[0])
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if address.is_multicast or address.is_unspecified or address == IPv4Address("255.255.255.255"):
        raise ValueError(f"{address} is not the address of a machine")
    if address.is_loopback:
        raise ValueError(f"{address} is every machine itself; name the address at which the others reach the server")
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
    """The head of the script: nothing that a user chose is in it but quoted."""
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
        "PERSIST": 1 if options.persist and action == "setup" else "",
        "TEST": 1 if action == "setup" and not options.no_test else "",
    }
    return "".join(f"{name}={shlex.quote(str(value))}\n" for name, value in values.items())
