"""``netconsd check``: whether the daemon would start, and with which settings, without starting it.

Options and the file are read, modules are imported and made; nothing is bound, opened or started.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from netconsd.daemon.config import OPTIONS, Configuration, configure
from netconsd.daemon.stdout import put
from netconsd.outputs.loader import ModuleError, Selection, load
from netconsd.outputs.setting_types import show
from netconsd.tap import DEFAULTS, Options

__all__ = ["main"]


class _Options(Options):
    """The daemon's, but what is wrong with them is kept, so that the modules can be looked at as well."""

    synopsis = "Usage: netconsd check [options] [MODULE ...]"
    longdesc = (
        "Reads the options, the file of --config and the modules as the daemon would, says what they come to, and "
        "what is wrong with them. Nothing is started. The status is 0 if the daemon can be started so."
    )
    hint = "netconsd check --help lists the options"
    wrong: list[str]

    def postOptions(self) -> None:
        """Keep what is wrong."""
        self.wrong = []
        self.configuration = configure(**self.asked_for(), wrong=self.wrong)


def main(arguments: Sequence[str] | None = None, prog: str = "netconsd check") -> int:
    """Print the settings that the daemon would have, or what keeps it from starting.

    :returns: the exit status: 0 if all is well, else 1.
    """
    options: Any = _Options()
    options.parseOptions(list(sys.argv[1:] if arguments is None else arguments))
    configuration = options.configuration
    wrong = list(options.wrong)
    selection = Selection((), ())
    try:
        selection = load(configuration.modules, configuration.module_settings, configuration.spare)
    except ModuleError as error:
        wrong.append(str(error))
    if wrong:
        for text in wrong:
            print(f"{prog}: {text}", file=sys.stderr)
        return 1
    put("\n".join(_effective(configuration, selection)), prog)
    return 0


def _effective(configuration: Configuration, selection: Selection) -> list[str]:
    rows = []
    for name in OPTIONS:
        given = configuration.given.get(name)
        if given is None:
            rows.append((name, DEFAULTS.get(name, "off"), "default"))
        else:
            value = given.value if isinstance(given.value, str) else show(given.value)
            rows.append((name, value, given.origin))
    names = max(len(name) for name, _, _ in rows)
    values = max(len(value) for _, value, _ in rows)
    lines = [f"{name:{names}}  {value:{values}}  {origin}" for name, value, origin in rows]
    lines.append("")
    for loaded in selection.loaded:
        lines.append(f"module {loaded.name}  {loaded.path}")
        given_here = configuration.module_settings.get(loaded.name, {})
        lines += [f"    {key} = {show(setting.value)}  {setting.origin}" for key, setting in given_here.items()]
    lines += [f"not started: {skipped.name}  {skipped.path}: {skipped.reason}" for skipped in selection.skipped]
    if not selection.loaded:
        lines.append("There is no output module, so messages would go nowhere")
    return lines
