"""The rooms of docs/architecture are what it says they are."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "netconsd"


def imports(file: Path) -> Iterator[str]:
    """The full names of the modules that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} has a relative import"
            yield node.module or ""


@pytest.mark.parametrize("name", ["netconsd", "netconsd.testing", "netconsd.service", "netconsd.tap"])
def test_importing_installs_no_reactor(name: str) -> None:
    """Importing netconsd leaves the choice of the reactor to the application."""
    code = f"import sys, {name}; print('twisted.internet.reactor' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_plugin_imports_nothing_of_ours() -> None:
    """The plugin file, which every twistd on the machine reads, does not import netconsd."""
    assert list(imports(ROOT / "twisted/plugins/netconsd_plugin.py")) == [
        "__future__",
        "twisted.application.service",
    ]


def test_every_room_is_in_the_docs() -> None:
    """docs/architecture names every file of the package."""
    text = (ROOT / "docs/architecture.rst").read_text()
    rooms = [file.stem for file in PACKAGE.glob("*.py") if file.stem != "__init__"]
    assert [room for room in sorted(rooms) if f"`{room}`" not in text] == []


def test_no_file_is_long() -> None:
    """No file of the package and no shipped module has more than 500 lines."""
    files = [*PACKAGE.glob("*.py"), *(ROOT / "modules").glob("*.py")]
    assert [file.name for file in files if len(file.read_text().splitlines()) > 500] == []
