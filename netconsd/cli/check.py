"""``netconsd check``: the settings that the daemon would have, or all errors that would prevent its start.

It reads the options and the file, imports the modules and constructs them, asks them whether they could start
(:class:`netconsd.interfaces.ICheckable`), and binds the ports for a moment. It creates and starts nothing. With --send,
modules that send to a server deliver one record (:class:`netconsd.interfaces.ISends`).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from netconsd.cli.requirements import mismatches
from netconsd.daemon.config import Configuration, configure
from netconsd.daemon.foreground import error_head
from netconsd.daemon.stdout import put
from netconsd.logger.hostnames import HostsError
from netconsd.names import Names
from netconsd.outputs.checks import check, send_tests
from netconsd.outputs.loader import Selection, available, load
from netconsd.outputs.setting_types import show
from netconsd.receive.sockets import bind
from netconsd.service import NetconsdService
from netconsd.settings import OPTIONS, ConfigError, Settings, metrics_address
from netconsd.tap import Options


class _Options(Options):
    """The daemon's options, whose errors are kept, so that the modules can be checked as well."""

    synopsis = "Usage: netconsd check [options] [MODULE ...]"
    longdesc = (
        "Reads the options, the file of --config and the modules as the daemon would, tests its ports, directories and "
        "files, and prints the settings, or all errors, one a line. Nothing is started or created. The status is 0 if "
        "the daemon can be started with these options by this user."
    )
    optFlags = [
        *Options.optFlags,
        ["running", None, "for a check beside a running daemon or its socket unit: ports in use are no error"],
        ["quiet", "q", "print only errors"],
        ["send", None, "let each module that sends to a server deliver one test record, and print the server's answer"],
    ]
    hint = "netconsd check --help lists the options"
    errors: list[str]

    def postOptions(self) -> None:
        """Set :attr:`configuration` and :attr:`errors`."""
        self.errors = []
        self.configuration = configure(**self.command_line(), errors=self.errors)


def main(arguments: Sequence[str] | None = None, prog: str = "netconsd check") -> int:
    """Print the settings that the daemon would have, or all errors that would prevent its start.

    :returns: the exit status: 0 if there is no error, otherwise 1.
    """
    options: Any = _Options()
    options.parseOptions(list(sys.argv[1:] if arguments is None else arguments))
    configuration = options.configuration
    errors = list(options.errors)
    selection = load(configuration.modules, configuration.module_settings, configuration.spare, errors=errors)
    # The faulty ones last: they must not claim what another module has.
    errors += check([*selection.loaded, *selection.faulty], configuration.module_settings)
    if not selection.loaded and not errors:
        errors.append("no output module is named, so messages would be dropped; name one, such as printer")
    try:
        Names(hosts_file=configuration.settings.hosts_file).read()
    except HostsError as error:
        errors.append(configuration.located(f"hosts_file: {error}"))
    errors += _ports(configuration, running=bool(options["running"]))
    packages = list(mismatches())
    errors += [package.text for package in packages if package.needed]
    answers: list[str] = []
    if options["send"]:
        answers, failures = send_tests(selection.loaded)
        errors += failures
        if not answers and not failures:
            errors.append("--send: no module that is named sends to a server, as syslog does")
    head = error_head(prog, sys.stderr)
    for text in (line for error in errors for line in error.splitlines()):
        print(f"{head}{text}", file=sys.stderr)
    if answers:
        # Also of a check with errors: the record was sent.
        put("\n".join(answers), prog)
    if errors:
        return 1
    if not options["quiet"]:
        notes = [f"note: {package.text}" for package in packages if not package.needed]
        put("\n".join([*_effective(configuration, selection), *notes]), prog)
    return 0


def _ports(configuration: Configuration, *, running: bool) -> Iterator[str]:
    """The errors of the addresses and ports.

    A port is bound without SO_REUSEPORT. That fails while any other socket has it, whatever options that socket has,
    so no datagram of a running daemon can arrive here.
    """
    settings = configuration.settings
    probe = replace(settings, listeners=1)
    if running:
        # The addresses are tested with any free port.
        metrics = f"{_bracketed(settings)}:0" if settings.metrics else None
        probe = replace(probe, port=0, metrics=metrics)
    try:
        bind(probe)[0].close()
    except ConfigError as error:
        hint = "; beside a running daemon: netconsd check --running" if "in use" in str(error) else ""
        yield configuration.located(str(error)) + hint
    if probe.metrics is not None:
        # Imported here, because its libraries are optional.
        from netconsd.monitor.http import MonitoringPort

        try:
            MonitoringPort(NetconsdService({}, probe)).close()
        except ConfigError as error:
            yield configuration.located(str(error))


def _bracketed(settings: Settings) -> str:
    address, _ = metrics_address(settings.metrics or "")
    return f"[{address}]" if ":" in address else address


def _effective(configuration: Configuration, selection: Selection) -> list[str]:
    rows = []
    for option in OPTIONS.values():
        set_option = configuration.set_options.get(option.name)
        origin = "default" if set_option is None else set_option.origin
        rows.append((option.name, configuration.shown(option.name), origin))
    names = max(len(name) for name, _, _ in rows)
    values = max(len(value) for _, value, _ in rows)
    lines = [f"{name:{names}}  {value:{values}}  {origin}" for name, value, origin in rows]
    lines.append("")
    for loaded in selection.loaded:
        lines.append(f"module {loaded.name}  {loaded.path}")
        module_settings = configuration.module_settings.get(loaded.name, {})
        lines += [f"    {key} = {show(setting.value)}  {setting.origin}" for key, setting in module_settings.items()]
    return [*lines, *available(selection.skipped)]
