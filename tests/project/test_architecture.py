"""docs/architecture describes the code: its rooms, its files, and the direction of imports."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from docs import rooms
from tests.support.syntax import imports

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "netconsd"

# The rooms from the bottom to the top. A room imports rooms before it only.
ORDER = [
    "protocol/",
    "crash/",
    "units",
    *("crashes", "interfaces", "jsonl", "rendering", "settings"),
    "read/",
    *("receive/", "outputs/", "logger/", "send/", "store/", "testing", "names"),
    "streams/",
    "alerts/",
    *("monitor/", "console/", "modules/", "service", "process/", "daemon/", "tap", "cli/"),
]


@pytest.mark.parametrize("name", ["netconsd", "netconsd.testing", "netconsd.service", "netconsd.tap"])
def test_importing_installs_no_reactor(name: str) -> None:
    """Importing netconsd leaves the choice of the reactor to the application."""
    code = f"import sys, {name}; print('twisted.internet.reactor' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_plugin_imports_nothing_of_ours() -> None:
    """The plugin file, which every twistd on the machine reads, does not import netconsd."""
    assert imports(ROOT / "twisted/plugins/netconsd_plugin.py") == {"__future__", "twisted.application.service"}


def test_every_file_is_in_the_docs() -> None:
    """docs/architecture names every file of the package."""
    text = (ROOT / "docs/architecture.rst").read_text()
    names = {file.stem for suffix in ("py", "pyx") for file in PACKAGE.rglob(f"*.{suffix}")} - {"__init__"}
    assert [name for name in sorted(names) if f"`{name}`" not in text] == []


def test_imports_go_in_one_direction() -> None:
    """A room imports only rooms below it; every room has a place in the order."""
    arrows = rooms.graph()
    assert set(arrows) == set(ORDER)
    backwards = [
        (room, target) for room in arrows for target in arrows[room] if ORDER.index(target) >= ORDER.index(room)
    ]
    assert backwards == []


@pytest.mark.parametrize("room", ["receive/", "outputs/", "logger/", "send/"])
def test_rooms_beside_each_other_do_not_know_each_other(room: str) -> None:
    """Receiving, outputs, the logger's parts and the sending side import nothing of each other."""
    beside = {"receive/", "outputs/", "logger/", "send/"} - {room}
    assert rooms.graph()[room] & beside == set()


def test_the_picture_is_of_this_code() -> None:
    """docs/images/rooms.svg shows the imports as they are: run `python docs/rooms.py` after a change."""
    assert rooms.PICTURE.read_text(encoding="utf-8") == rooms.svg()


def test_a_circle_is_an_error() -> None:
    """Imports that go round in a circle have no floors, and the script says so."""
    with pytest.raises(RecursionError):
        rooms.floors({"a/": {"b/"}, "b/": {"a/"}})


def test_an_arrow_that_follows_from_others_is_left_out() -> None:
    """The picture has the arrows from which the others follow."""
    arrows = {"a/": {"b/", "c/"}, "b/": {"c/"}, "c/": set[str]()}
    assert rooms.without_shortcuts(arrows) == {"a/": {"b/"}, "b/": {"c/"}, "c/": set()}


def test_types_of_locals_are_compiled() -> None:
    """A .pxd with decorators of Cython imports their name: Cython 3.3 ignores `@cython.locals` silently without it."""
    declarations = {file.name: file.read_text(encoding="utf-8") for file in PACKAGE.rglob("*.pxd")}
    decorated = [name for name, text in declarations.items() if "@cython." in text]
    assert "stream.pxd" in decorated
    assert [name for name in decorated if "\ncimport cython\n" not in f"\n{declarations[name]}"] == []
