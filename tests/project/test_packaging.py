"""The builds are complete, and twistd finds netconsd wherever it is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from netconsd.build import COMPILED, KIND
from tests.support.plain_build import HOT

ROOT = Path(__file__).parents[2]
# Compiling takes long: it is done once, for the sdist's wheel, if it was done for these tests.
PLAIN = {"NETCONSD_DISABLE_EXTENSIONS": "1", "NETCONSD_REQUIRE_EXTENSIONS": "0"}
AS_HERE = {"NETCONSD_DISABLE_EXTENSIONS": "0", "NETCONSD_REQUIRE_EXTENSIONS": "1"} if COMPILED else PLAIN

# Two builds and two installations, without a network.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    """Run a command to its end and return what it printed; its whole output is the message if it fails."""
    done = subprocess.run(
        command, cwd=cwd, env=os.environ | environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return done.stdout


@dataclass(frozen=True)
class Built:
    """The checkout's copy, and what came of building it: the sdist and its wheel as here, the other wheel plain."""

    checkout: Path
    sdist: Path
    wheel: Path
    wheel_of_sdist: Path


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Build from a copy, because building writes into the tree that it builds."""
    directory = tmp_path_factory.mktemp("packaging")
    checkout = directory / "checkout"
    shutil.copytree(
        ROOT, checkout, symlinks=True,
        ignore=shutil.ignore_patterns(
            *(".*", "build", "dist", "_build", "*.egg-info", "__pycache__", "dropin.cache", "*.so", "*.c"),
            "node_modules",
        ),
    )  # fmt: skip
    build = (sys.executable, "-m", "build", "--no-isolation", "--outdir")
    # An sdist, and a wheel from that sdist; then a wheel from the tree.
    run(*build, directory / "sdist", cwd=checkout, **AS_HERE)
    run(*build, directory / "wheel", "--wheel", cwd=checkout, **PLAIN)
    return Built(
        checkout=checkout,
        sdist=next((directory / "sdist").glob("*.tar.gz")),
        wheel=next((directory / "wheel").glob("*.whl")),
        wheel_of_sdist=next((directory / "sdist").glob("*.whl")),
    )


class Installation:
    """A virtual environment with netconsd, which borrows Twisted and pip from the environment of the tests."""

    def __init__(self, directory: Path, what: list[str | Path]) -> None:
        self.cwd = directory / "cwd"
        self.cwd.mkdir(parents=True)
        run(sys.executable, "-m", "venv", "--without-pip", directory / "venv", cwd=self.cwd)
        self.python = directory / "venv/bin/python"
        self.site_packages = Path(self.run("import sysconfig; print(sysconfig.get_path('purelib'))").strip())
        # Only the directory: its own .pth files are not read, so an editable install of netconsd there is not seen.
        (self.site_packages / "borrowed.pth").write_text(sysconfig.get_path("purelib"))
        run(
            self.python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation",
            "--ignore-installed", *what, cwd=self.cwd, **PLAIN,
        )  # fmt: skip

    def run(self, code: str, *arguments: str) -> str:
        """Run a line of Python in this environment, away from the checkout."""
        return run(self.python, "-c", code, *arguments, cwd=self.cwd)

    def twistd(self, *arguments: str) -> str:
        """Run twistd, as its script does."""
        return self.run("from twisted.scripts.twistd import run; run()", *arguments)


@pytest.fixture(scope="module")
def from_wheel(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """The wheel of the sdist, installed."""
    return Installation(tmp_path_factory.mktemp("wheel"), [built.wheel_of_sdist])


@pytest.fixture(scope="module")
def editable(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """The checkout, installed with ``pip install -e``."""
    return Installation(tmp_path_factory.mktemp("editable"), ["-e", built.checkout])


def names_in_wheel(wheel: Path) -> set[str]:
    """The names of all files in a wheel, but for what was compiled and for the metadata."""
    return {name for name in all_in_wheel(wheel) if ".dist-info/" not in name and not name.endswith(".so")}


def all_in_wheel(wheel: Path) -> list[str]:
    """The names of all files in a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def compiled_in_wheel(wheel: Path) -> list[str]:
    """The names of the compiled modules in a wheel, sorted."""
    return sorted(Path(name).name.partition(".")[0] for name in all_in_wheel(wheel) if name.endswith(".so"))


def test_wheel_has_all_that_is_needed_at_run_time(built: Built) -> None:
    """The wheel has every module of the package, the shipped output modules, the type marker and the plugin."""
    package = built.checkout / "netconsd"
    files = [*package.rglob("*.py"), *package.glob("*/*.pyi"), *package.glob("cli/*.sh"), *package.glob("include/*.h")]
    files += [path for path in (package / "console").rglob("*") if path.is_file() and path.suffix != ".py"]
    files += package.glob("cli/*.json")
    expected = {path.relative_to(built.checkout).as_posix() for path in files}
    expected |= {f"netconsd/modules/{path.name}" for path in (built.checkout / "modules").glob("*.py")}
    expected |= {"netconsd/py.typed", "netconsd/modules/printer.py", "twisted/plugins/netconsd_plugin.py"}
    assert {"netconsd/outputs/_native.pyi", "netconsd/include/netconsd.h"} < expected
    assert names_in_wheel(built.wheel) == expected
    assert any(name.endswith("licenses/LICENSE") for name in all_in_wheel(built.wheel))


def test_a_wheel_is_compiled_or_not(built: Built) -> None:
    """A build compiles all hot files and the receiver; told not to, it compiles none, and its wheel is for any machine;
    no wheel has a file of C."""
    hot = sorted(
        [*(name.split(".")[1] for name in HOT), *(path.stem for path in (built.checkout / "netconsd").rglob("*.pyx"))]
    )
    assert compiled_in_wheel(built.wheel_of_sdist) == (hot if COMPILED else [])
    assert compiled_in_wheel(built.wheel) == []
    assert built.wheel.name.endswith("-py3-none-any.whl")
    assert not [name for name in all_in_wheel(built.wheel_of_sdist) if name.endswith((".c", ".o"))]


def test_what_is_installed_is_what_was_built(from_wheel: Installation, editable: Installation) -> None:
    """Where it is installed, netconsd says which build it is, and reads by its receiver."""
    code = (
        "from netconsd.build import KIND; from netconsd.receive.reader import Receiver; "
        "print(KIND, Receiver.__module__)"
    )
    receiver = "netconsd.receive._recvmmsg" if COMPILED else "netconsd.receive.recvfrom"
    assert from_wheel.run(code) == f"{KIND} {receiver}\n"
    assert editable.run(code) == "plain Python netconsd.receive.recvfrom\n"


def test_sdist_has_files_where_the_checkout_has_a_link(built: Built) -> None:
    """The sdist has the shipped modules as files, and what is needed to test it and to build its documentation."""
    with tarfile.open(built.sdist) as archive:
        members = {member.name.partition("/")[2]: member for member in archive}
    assert members["netconsd/modules/printer.py"].isreg()
    assert not [name for name, member in members.items() if member.issym() or member.islnk()]
    assert {"LICENSE", "README.md", "pyproject.toml", "setup.cfg", "docs/conf.py"} <= members.keys()
    assert {"modules/printer.py", "tests/project/test_packaging.py", "tests/integration/conftest.py"} <= members.keys()
    assert {"setup.py", "netconsd/receive/_recvmmsg.pyx", "netconsd/protocol/decode.pxd"} <= members.keys()
    assert not [name for name in members if name.endswith((".pyc", ".c", ".so", "dropin.cache"))]


def test_wheel_of_the_sdist_is_the_same(built: Built) -> None:
    """The wheel that is built from the sdist has the same files as the one that is built from the checkout, but for
    what was compiled."""
    assert names_in_wheel(built.wheel_of_sdist) == names_in_wheel(built.wheel)


@pytest.mark.parametrize("how", ["from_wheel", "editable"])
def test_twistd_lists_netconsd(how: str, request: pytest.FixtureRequest) -> None:
    """``twistd --help`` lists netconsd, from a wheel as from an editable install."""
    installation: Installation = request.getfixturevalue(how)
    assert [line for line in installation.twistd("--help").splitlines() if line.startswith("    netconsd ")]


@pytest.mark.parametrize("how", ["from_wheel", "editable"])
def test_shipped_module_is_found_by_its_bare_name(how: str, request: pytest.FixtureRequest, built: Built) -> None:
    """``--modules printer`` means the file that was installed with netconsd."""
    installation: Installation = request.getfixturevalue(how)
    where = installation.site_packages if how == "from_wheel" else built.checkout
    found = installation.run("from netconsd.outputs.loader import load; print(load(['printer'], {}).loaded[0].path)")
    assert found.strip() == str(where / "netconsd/modules/printer.py")


def test_installed_package_is_typed(from_wheel: Installation) -> None:
    """Type checkers take the annotations of the installed package (PEP 561)."""
    assert (from_wheel.site_packages / "netconsd/py.typed").is_file()


def test_version_is_that_of_the_package(from_wheel: Installation) -> None:
    """The version of the installed distribution is ``netconsd.__version__``."""
    code = "import importlib.metadata as m, netconsd; print(m.version('netconsd') == netconsd.__version__)"
    assert from_wheel.run(code).strip() == "True"
