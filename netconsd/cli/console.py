"""``netconsd console``: the daemon with printer, store and console, or the console of a store alone."""

from __future__ import annotations

import argparse
import getpass
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from netconsd.cli import run
from netconsd.cli.storeoptions import add_names, place_of
from netconsd.console.service import DEFAULT_LISTEN, Configured, Console, configured, link
from netconsd.names import Names

_DESCRIPTION = """
Receive kernel logs, print and store them, and show them in a browser. Prints the address of the pages. Further options
are those of netconsd run, such as --port and --set; with --read-only, --config and those for names, such as
--hosts-file, as of netconsd log.
"""
_EPILOG = """
Beyond 127.0.0.1, the console needs a password: netconsd console --hash-password > FILE, then --password-file FILE.
"""


def main(arguments: Sequence[str] | None = None, prog: str = "netconsd console") -> int:
    """Run until a signal.

    :returns: as :func:`netconsd.cli.run.main`; 2 if an option is wrong.
    :raises SystemExit: with the text for the user.
    """
    parser = _parser(prog)
    options, others = parser.parse_known_args(arguments)
    if options.hash_password:
        if others:
            parser.error(f"--hash-password takes no other option, such as {others[0]}")
        return _hash_password(prog)
    if options.read_only:
        names = argparse.ArgumentParser(prog=prog, add_help=False, allow_abbrev=False)
        add_names(names)
        names.add_argument("--config")
        # The daemon has these as well.
        _, others = names.parse_known_args(others, options)
        if others:
            parser.error(f"--read-only does not receive: leave out {others[0]}")
        return _read_only(options, prog)
    return run.main([*_settings(options), *others], prog)


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=prog, description=_DESCRIPTION, epilog=_EPILOG, allow_abbrev=False)
    add = parser.add_argument
    add("--store", type=Path, metavar="DIR", help="the directory of the store [default: that of the module store]")
    add("--listen", metavar="ADDRESS:PORT", help=f"for browsers [default: {DEFAULT_LISTEN}]")
    add("--read-only", action="store_true", help="show the store without receiving, and change nothing")
    add("--password-file", type=Path, metavar="FILE", help="hashes of passwords; needed beyond 127.0.0.1")
    add("--token-file", type=Path, metavar="FILE", help="tokens for scripts")
    add("--certificate", type=Path, metavar="FILE", help="key and certificate (PEM), for https")
    add(
        *("--console-host",),
        action="append",
        default=[],
        metavar="NAME",
        help="a name by which browsers reach the console; repeatable",
    )
    add("--quiet", action="store_true", help="do not print messages")
    add("--hash-password", action="store_true", help="read a password, and print the line for a --password-file")
    return parser


def _settings(options: argparse.Namespace) -> list[str]:
    """Return the options of ``netconsd run``."""
    found = [] if options.quiet else ["--modules", "printer"]
    found += ["--modules", "store", "--modules", "console"]
    if options.store is not None:
        for name in ("store", "console"):
            found += ["--set", f"{name}.directory={options.store}"]
    for name in ("listen", "password_file", "token_file", "certificate"):
        value = getattr(options, name)
        if value is not None:
            found += ["--set", f"console.{name}={value}"]
    if options.console_host:
        found += ["--set", f"console.hosts={','.join(options.console_host)}"]
    return found


def _hash_password(prog: str) -> int:
    from netconsd.console.access import hash_password

    if sys.stdin is not None and sys.stdin.isatty():
        password = getpass.getpass("Password: ")
        if password != getpass.getpass("Again: "):
            print(f"{prog}: the two are not the same", file=sys.stderr)
            return 2
    else:
        password = sys.stdin.readline().rstrip("\n") if sys.stdin is not None else ""
    if not password:
        print(f"{prog}: the password is empty", file=sys.stderr)
        return 2
    print(hash_password(password))
    return 0


def _read_only(options: argparse.Namespace, prog: str) -> int:
    place = place_of(options, prog)
    try:
        settings = configured(
            options.listen or DEFAULT_LISTEN,
            place.directory.absolute(),
            password_file=options.password_file,
            token_file=options.token_file,
            certificate=options.certificate,
            hosts=options.console_host,
            read_only=True,
        )
        os.listdir(settings.directory / "journal")
    except ValueError as error:
        print(f"{prog}: {_option(error)}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"{prog}: {error.filename}: {error.strerror}; --store names the store", file=sys.stderr)
        return 2
    return _serve(settings, place.names, prog)


def _option(error: Exception) -> str:
    """Return an error's text with the option instead of the setting."""
    name, colon, rest = str(error).partition(":")
    option = {"hosts": "console-host"}.get(name, name.replace("_", "-"))
    return f"--{option}{colon}{rest}" if name.isidentifier() else str(error)


def _serve(settings: Configured, names: Names, prog: str) -> int:
    from twisted.internet import reactor as installed

    reactor: Any = installed
    console = Console(settings, names=names)
    failed = False

    def start() -> None:
        nonlocal failed
        try:
            url = console.start(reactor)
            names.start(reactor)
        except (ValueError, ModuleNotFoundError) as error:
            print(f"{prog}: {_option(error)}", file=sys.stderr)
            failed = True
            reactor.stop()
            return
        print(f"console: {link(url, os.environ, sys.stdout.isatty())}", flush=True)

    reactor.callWhenRunning(start)
    reactor.addSystemEventTrigger("before", "shutdown", console.stop)
    reactor.addSystemEventTrigger("before", "shutdown", names.stop)
    reactor.run()
    return 2 if failed else 0
