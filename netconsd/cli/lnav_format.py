"""``netconsd lnav-format``: the formats by which lnav(1) reads the files of the logger and of jsonl (docs/tools)."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from netconsd.daemon.stdout import put

#: The formats, in lnav's own language (docs.lnav.org/en/latest/formats.html). The levels of jsonl are numbers: with
#: patterns, lnav 0.12.4 (Debian 13) has the level "unknown" for all lines. "fatal" is there twice, for emerg and alert:
#: lnav takes each member.
FORMAT: Final = Path(__file__).with_name("lnav.json")
_DESCRIPTION = """
Print the formats by which lnav reads the files of netconsd's modules logger and jsonl, or install them for this user.
"""


def main(arguments: Sequence[str] | None = None, prog: str = "netconsd lnav-format") -> int:
    """Print or install the formats.

    :returns: 0; 1 if they cannot be written.
    :raises SystemExit: with 2, if an option is wrong; with 1, if standard output cannot be written.
    """
    parser = argparse.ArgumentParser(prog=prog, description=_DESCRIPTION, allow_abbrev=False)
    parser.add_argument("--install", action="store_true", help="write them where lnav finds them, and print the path")
    options = parser.parse_args(arguments)
    text = FORMAT.read_text(encoding="utf-8")
    if not options.install:
        put(text.removesuffix("\n"), prog)
        return 0
    path = directory(os.environ) / "formats" / "netconsd" / "netconsd.json"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Replaced as a whole: lnav may start meanwhile.
        new = path.with_suffix(".tmp")
        new.write_text(text, encoding="utf-8")
        new.replace(path)
    except OSError as error:
        print(f"{prog}: {path}: {error.strerror}", file=sys.stderr)
        return 1
    put(f"{path}", prog)
    return 0


def directory(environment: Mapping[str, str]) -> Path:
    """Return lnav's directory of the user: ``~/.lnav`` if it exists, as of old versions, or else the one of XDG."""
    home = Path(environment.get("HOME") or Path.home())
    if (home / ".lnav").is_dir():
        return home / ".lnav"
    return Path(environment.get("XDG_CONFIG_HOME") or home / ".config") / "lnav"
