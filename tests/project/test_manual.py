"""The manual pages have the options that the commands have."""

from __future__ import annotations

import re
from configparser import ConfigParser
from importlib import import_module
from pathlib import Path

import pytest

from netconsd.cli.main import COMMANDS

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs/man").glob("*.rst"))
# Commands whose options are those of another one.
ALIKE = {"check": "run"}

_OPTION = re.compile(r"(?<![\w-])--?[A-Za-z][\w-]*")


def programs() -> dict[str, str]:
    """Commands that are programs of their own, too, by their names as a command."""
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    lines = setup["options.entry_points"]["console_scripts"].split("\n")
    entries = [re.fullmatch(r"([\w-]+) *= *netconsd\.cli\.(\w+):main", line.strip()) for line in lines]
    return {entry[2]: entry[1] for entry in entries if entry}


def in_manual(program: str) -> set[str]:
    """The options that the pages have under ``.. program::``."""
    found = set()
    for page in PAGES:
        current = ""
        for line in page.read_text().splitlines():
            if line.startswith(".. program:: "):
                current = line.removeprefix(".. program:: ")
            elif line.startswith(".. option:: ") and current == program:
                found |= set(_OPTION.findall(line))
    return found


def in_help(command: str, capture: pytest.CaptureFixture[str]) -> set[str]:
    """The options that a command's ``--help`` lists."""
    with pytest.raises(SystemExit) as caught:
        import_module(f"netconsd.cli.{command}").main(["--help"], command)
    assert not caught.value.code
    # An option stands at the beginning of a line, and its text two spaces away or on the next line.
    lines = re.findall(r"^ {2,6}(-\S.*?)(?:  |$)", capture.readouterr().out, re.MULTILINE)
    return {option for line in lines for option in _OPTION.findall(line)}


@pytest.mark.parametrize("command", COMMANDS)
def test_options(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each option that --help lists stands in the command's manual page in docs/man, and no other."""
    alike = ALIKE.get(command, command)
    program = programs().get(alike, f"netconsd {alike}")
    assert in_manual(program) == in_help(command, capsys), f"docs/man, .. program:: {program}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_page_is_built(page: Path) -> None:
    """Each page is one that Sphinx builds, with its name as its title, and in the HTML."""
    assert f'("man/{page.stem}", "{page.stem}", ' in (ROOT / "docs/conf.py").read_text()
    assert f"   man/{page.stem}\n" in (ROOT / "docs/index.rst").read_text()
    assert page.read_text().startswith(f"{page.stem}\n{'=' * len(page.stem)}\n")


def test_programs_have_pages() -> None:
    """Each program that is installed has a page of its own."""
    assert {"netconsd", *programs().values()} <= {page.stem for page in PAGES}
