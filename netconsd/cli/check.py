"""``netconsd check``: the settings that the daemon would have, or all errors that would prevent its start.

It reads the options and the file, imports the modules and constructs them; it binds, opens and starts nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from netconsd.daemon.config import Configuration, configure
from netconsd.daemon.stdout import put
from netconsd.logger.hostnames import HostsError
from netconsd.names import Names
from netconsd.outputs.loader import ModuleError, Selection, load
from netconsd.outputs.setting_types import show
from netconsd.settings import OPTIONS
from netconsd.tap import Options


class _Options(Options):
    """The daemon's options, whose errors are kept, so that the modules can be checked as well."""

    synopsis = "Usage: netconsd check [options] [MODULE ...]"
    longdesc = (
        "Reads the options, the file of --config and the modules as the daemon would, and prints the settings, or all "
        "errors. Nothing is started. The status is 0 if the daemon can be started with these options."
    )
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
    selection = Selection((), ())
    try:
        selection = load(configuration.modules, configuration.module_settings, configuration.spare)
    except ModuleError as error:
        errors.append(str(error))
    try:
        Names(hosts_file=configuration.settings.hosts_file).read()
    except HostsError as error:
        errors.append(f"--hosts-file: {error}")
    if errors:
        for text in errors:
            print(f"{prog}: {text}", file=sys.stderr)
        return 1
    put("\n".join(_effective(configuration, selection)), prog)
    return 0


def _effective(configuration: Configuration, selection: Selection) -> list[str]:
    rows = []
    for option in OPTIONS.values():
        set_option = configuration.set_options.get(option.name)
        if set_option is None:
            rows.append((option.name, option.default, "default"))
        else:
            value = set_option.value if isinstance(set_option.value, str) else show(set_option.value)
            rows.append((option.name, value, set_option.origin))
    names = max(len(name) for name, _, _ in rows)
    values = max(len(value) for _, value, _ in rows)
    lines = [f"{name:{names}}  {value:{values}}  {origin}" for name, value, origin in rows]
    lines.append("")
    for loaded in selection.loaded:
        lines.append(f"module {loaded.name}  {loaded.path}")
        module_settings = configuration.module_settings.get(loaded.name, {})
        lines += [f"    {key} = {show(setting.value)}  {setting.origin}" for key, setting in module_settings.items()]
    lines += [f"not started: {skipped.name}  {skipped.path}: {skipped.reason}" for skipped in selection.skipped]
    if not selection.loaded:
        lines.append("There is no output module, so messages would be dropped")
    return lines
