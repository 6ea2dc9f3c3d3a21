"""Output modules in C and Rust, compiled for the tests that need them."""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from netconsd.outputs.native import INCLUDE, NativeModule

SOURCES = Path(__file__).parent / "native"
EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


def _compiler() -> str | None:
    """The C compiler, if what it makes can be loaded here: not so for Python in an emulator."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    target = subprocess.run([compiler, "-dumpmachine"], capture_output=True, text=True, check=False, timeout=50)
    return compiler if target.stdout.partition("-")[0] == platform.machine() else None


CC = _compiler()
# Where rustup puts it, which is not always in the path of those who run tests.
RUSTC = shutil.which("rustc") or shutil.which("rustc", path=str(Path.home() / ".cargo/bin"))

needs_cc = pytest.mark.skipif(CC is None, reason="there is no C compiler (cc) for this machine")
needs_rustc = pytest.mark.skipif(
    RUSTC is None or CC is None or sys.byteorder != "little", reason="there is no rustc for this machine"
)


def compiled(source: Path, directory: Path, *flags: str, name: str | None = None) -> Path:
    """The shared object that a file in C is compiled to."""
    library = directory / f"{name or source.stem}.so"
    assert CC is not None
    _run(CC, "-std=gnu11", "-shared", "-fPIC", "-Wall", "-Werror", f"-I{INCLUDE}", *flags, "-o", library, source)
    return library


def compiled_rust(source: Path, directory: Path) -> Path:
    """The shared object that a file in Rust is compiled to, without crates."""
    library = directory / f"{source.stem}_rust.so"
    assert RUSTC is not None
    _run(RUSTC, "--edition=2021", "--crate-type=cdylib", "-Cpanic=abort", "-o", library, source)
    return library


def text_of(module: NativeModule, function: str) -> str:
    """What a function of the module returns that takes nothing and returns a string."""
    call = getattr(ctypes.CDLL(str(module.path)), function)
    call.restype = ctypes.c_char_p
    return bytes(call()).decode()


def _run(*command: str | Path) -> None:
    # Without the sanitizers' library, where that is preloaded into these tests.
    environment = {key: value for key, value in os.environ.items() if key != "LD_PRELOAD"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=50)
    assert done.returncode == 0, done.stderr
