"""The tools of tests/console: which are missing, and a copy of the pages' modules beside the files that check them."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

HERE: Final = Path(__file__).parent
STATIC: Final = HERE.parents[1] / "netconsd" / "console" / "static"
CHROMIUM: Final = Path("/usr/bin/chromium")
#: In CI, a missing tool is a failure.
REQUIRED: Final = "NETCONSD_REQUIRE_CONSOLE_TEST" in os.environ


def need(*tools: str) -> None:
    """Skip the test, or fail in CI, unless all tools are there; their names are below."""
    there = {
        "node": shutil.which("node") is not None,
        "npm packages": (HERE / "node_modules").is_dir(),
        "chromium": CHROMIUM.exists(),
        **{name: importlib.util.find_spec(name) is not None for name in ("playwright", "schemathesis")},
    }
    missing = [tool for tool in tools if not there[tool]]
    if missing:
        text = f"missing: {', '.join(missing)}; bash .ci/install-console-test; pip install 'netconsd[dev,api-test]'"
        pytest.fail(text) if REQUIRED else pytest.skip(text)


def workshop(directory: Path) -> Path:
    """Return a directory with the modules, the declarations of the libraries, and the tools' settings."""
    shutil.copytree(STATIC / "js", directory / "js")
    shutil.copytree(STATIC / "vendor", directory / "vendor")
    # Debian 12's Node.js takes a .js as a module only if a package says so.
    (directory / "package.json").write_text('{"type": "module"}')
    for file in [*HERE.glob("*.mjs"), HERE / "tsconfig.json"]:
        shutil.copy(file, directory)
    if (HERE / "node_modules").is_dir():
        (directory / "node_modules").symlink_to(HERE / "node_modules")
    return directory


def with_declarations(directory: Path) -> Path:
    """Put the declarations of the libraries in place of the libraries, which no checker need read."""
    shutil.rmtree(directory / "vendor")
    shutil.copytree(HERE / "types", directory, dirs_exist_ok=True)
    return directory


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command to its end and return its output; the output is the message if it fails."""
    done = subprocess.run(
        command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout
    return done.stdout
