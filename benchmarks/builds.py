"""Copies of this checkout to run the daemon from: one compiled, one in plain Python."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.scenarios import Build

ROOT = Path(__file__).parents[1]
PACKED = ("netconsd", "modules", "twisted", "setup.py", "setup.cfg", "pyproject.toml", "README.md", "LICENSE")
# Compiling takes less than a minute on an idle machine.
COMPILE_SECONDS = 600


class CannotBuildError(Exception):
    """What stands in the way, for the user."""


def c_program(source: Path, target: Path) -> Path:
    """Compile one of the C files beside this one.

    :raises CannotBuildError: without a C compiler, or if that fails.
    """
    compiler = os.environ.get("CC", "cc")
    try:
        subprocess.run([compiler, "-O2", "-o", target, source], check=True, capture_output=True, text=True, timeout=60)
    except FileNotFoundError:
        raise CannotBuildError(f"the benchmarks need a C compiler, and there is no {compiler!r} (or set CC)") from None
    except subprocess.CalledProcessError as error:
        raise CannotBuildError(f"{compiler} cannot compile {source.name}:\n{error.stderr}") from None
    return target


def checkout(build: Build, target: Path) -> Path:
    """Make a copy of the checkout in which netconsd is of that build.

    What is compiled here already, and not stale, is taken as it is; else it is compiled there.

    :raises CannotBuildError: if it cannot be compiled.
    """
    compiled = build == "compiled" and _is_compiled()
    ignored = ["__pycache__", "dropin.cache", "*.c"] + ([] if compiled else ["*.so"])
    target.mkdir()
    for name in PACKED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target / name, symlinks=True, ignore=shutil.ignore_patterns(*ignored))
        else:
            shutil.copy(ROOT / name, target / name)
    if build == "compiled" and not compiled:
        _compile(target)
    return target


@contextmanager
def on_processors(cpus: set[int]) -> Iterator[None]:
    """Run the block on these, and so what it starts."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _is_compiled() -> bool:
    """Whether netconsd is compiled here, and no file's source is newer: a stale one would be measured in its place."""
    compiled = list((ROOT / "netconsd").glob("*.so"))
    for file in compiled:
        for source in (ROOT / "netconsd").glob(f"{file.name.partition('.')[0]}.p*"):
            if source.suffix in (".py", ".pyx", ".pxd") and source.stat().st_mtime > file.stat().st_mtime:
                return False
    return bool(compiled)


def _compile(tree: Path) -> None:
    environment = os.environ | {"NETCONSD_REQUIRE_EXTENSIONS": "1"}
    try:
        subprocess.run(
            [sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"],
            cwd=tree,
            env=environment,
            check=True,
            capture_output=True,
            text=True,
            timeout=COMPILE_SECONDS,
        )
    except subprocess.CalledProcessError as error:
        raise CannotBuildError("netconsd cannot be compiled here:\n" + error.stderr[-2000:]) from None
