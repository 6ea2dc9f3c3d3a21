"""The manual pages list the options of the commands."""

from __future__ import annotations

import re
from configparser import ConfigParser
from importlib import import_module
from pathlib import Path

import pytest

from netconsd.cli.main import COMMANDS

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs/man").glob("*.rst"))
# Commands that also have the options of another command.
SAME_OPTIONS = {"check": "run", "alerts": "run", "process": "run"}

_OPTION = re.compile(r"(?<![\w-])--?[A-Za-z][\w-]*")


def programs() -> dict[str, str]:
    """The names of the installed programs, by command."""
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    lines = setup["options.entry_points"]["console_scripts"].split("\n")
    entries = [re.fullmatch(r"([\w-]+) *= *netconsd\.cli\.(\w+):main", line.strip()) for line in lines]
    return {entry[2]: entry[1] for entry in entries if entry}


def in_manual(program: str) -> set[str]:
    """The options that the pages list under ``.. program::``."""
    options = set()
    for page in PAGES:
        current = ""
        for line in page.read_text().splitlines():
            if line.startswith(".. program:: "):
                current = line.removeprefix(".. program:: ")
            elif line.startswith(".. option:: ") and current == program:
                options |= set(_OPTION.findall(line))
    return options


def in_help(command: str, capture: pytest.CaptureFixture[str]) -> set[str]:
    """The options that a command's ``--help`` lists."""
    with pytest.raises(SystemExit) as caught:
        import_module(f"netconsd.cli.{command.replace('-', '_')}").main(["--help"], command)
    assert not caught.value.code
    # An option is at the start of a line; its text follows after two spaces or on the next line.
    lines = re.findall(r"^ {2,6}(-\S.*?)(?:  |$)", capture.readouterr().out, re.MULTILINE)
    return {option for line in lines for option in _OPTION.findall(line)}


@pytest.mark.parametrize("command", COMMANDS)
def test_options(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A command's manual page lists exactly the options that ``--help`` lists."""
    names = {command, SAME_OPTIONS.get(command, command)}
    documented = {programs().get(name, f"netconsd {name}") for name in names}
    options = set().union(*map(in_manual, documented))
    assert options == in_help(command, capsys), f"docs/man, .. program:: of {documented}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_page_is_built(page: Path) -> None:
    """Sphinx builds each page as a manual page and in the HTML, and its title is its name."""
    assert f'("man/{page.stem}", "{page.stem}", ' in (ROOT / "docs/conf.py").read_text()
    assert f"   man/{page.stem}\n" in (ROOT / "docs/index.rst").read_text()
    assert page.read_text().startswith(f"{page.stem}\n{'=' * len(page.stem)}\n")


def test_programs_have_pages() -> None:
    """Each installed program has a page."""
    assert {"netconsd", *programs().values()} <= {page.stem for page in PAGES}
