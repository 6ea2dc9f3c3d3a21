"""Trees from which the daemon runs: copies of this checkout, and earlier revisions; compiled, or in plain Python."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.scenarios import Build

ROOT = Path(__file__).parents[1]
PACKED = ("netconsd", "modules", "twisted", "setup.py", "setup.cfg", "pyproject.toml", "README.md", "LICENSE")
# Compiling takes less than a minute on an idle machine.
COMPILE_SECONDS = 600


class CannotBuildError(Exception):
    """The reason why a build is impossible, for the user."""


def c_program(source: Path, target: Path, *arguments: str) -> Path:
    """Compile a C program of the benchmarks.

    :param arguments: further ones for the compiler.
    :raises CannotBuildError: without a C compiler, or if that fails.
    """
    compiler = os.environ.get("CC", "cc")
    try:
        command = [compiler, "-O2", *arguments, "-o", str(target), str(source)]
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    except FileNotFoundError:
        raise CannotBuildError(f"the benchmarks need a C compiler, and {compiler!r} is missing (or set CC)") from None
    except subprocess.CalledProcessError as error:
        raise CannotBuildError(f"{compiler} cannot compile {source.name}:\n{error.stderr}") from None
    return target


def checkout(build: Build, target: Path) -> Path:
    """Copy the checkout to ``target``, as a compiled or plain build.

    Extensions that are up to date are copied; otherwise they are compiled in the copy.

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


def short_name(revision: str) -> str:
    """The abbreviated hash of a revision of this repository.

    :raises CannotBuildError: if there is none.
    """
    return _git("rev-parse", "--short", "--verify", f"{revision}^{{commit}}").decode().strip()


def revision(name: str, build: Build, target: Path) -> Path:
    """Write a revision of this repository to ``target``, as a compiled or plain build.

    :raises CannotBuildError: if there is no such revision, or it cannot be compiled.
    """
    with tarfile.open(fileobj=io.BytesIO(_git("archive", "--format=tar", name))) as archive:
        archive.extractall(target, filter="data")
    if build == "compiled":
        _compile(target)
    return target


def _git(*arguments: str) -> bytes:
    try:
        return subprocess.run(["git", "-C", ROOT, *arguments], check=True, capture_output=True, timeout=60).stdout
    except FileNotFoundError:
        raise CannotBuildError("an earlier revision needs git, which is missing") from None
    except subprocess.CalledProcessError as error:
        raise CannotBuildError(f"git {arguments[0]}: {error.stderr.decode(errors='replace').strip()}") from None


@contextmanager
def on_processors(cpus: set[int]) -> Iterator[None]:
    """Run the block, and the processes that it starts, on these processors."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _is_compiled() -> bool:
    """True if netconsd is compiled here, and no source is newer than its extension, which would take precedence."""
    compiled = list((ROOT / "netconsd").rglob("*.so"))
    for file in compiled:
        for source in file.parent.glob(f"{file.name.partition('.')[0]}.p*"):
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
        raise CannotBuildError("netconsd cannot be compiled:\n" + error.stderr[-2000:]) from None
