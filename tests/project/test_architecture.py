"""The rooms of docs/architecture are what it says they are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.syntax import imports

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "netconsd"


@pytest.mark.parametrize("name", ["netconsd", "netconsd.testing", "netconsd.service", "netconsd.tap"])
def test_importing_installs_no_reactor(name: str) -> None:
    """Importing netconsd leaves the choice of the reactor to the application."""
    code = f"import sys, {name}; print('twisted.internet.reactor' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_plugin_imports_nothing_of_ours() -> None:
    """The plugin file, which every twistd on the machine reads, does not import netconsd."""
    assert imports(ROOT / "twisted/plugins/netconsd_plugin.py") == {"__future__", "twisted.application.service"}


def test_every_room_is_in_the_docs() -> None:
    """docs/architecture names every file of the package."""
    text = (ROOT / "docs/architecture.rst").read_text()
    rooms = [file.stem for file in PACKAGE.rglob("*.py") if file.stem != "__init__"]
    assert [room for room in sorted(rooms) if f"`{room}`" not in text] == []
