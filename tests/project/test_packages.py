"""The packages have the version, extras, programs and requirements of the tree. packaging/test installs them."""

from __future__ import annotations

import re
import shutil
import subprocess
from configparser import ConfigParser
from pathlib import Path

import pytest

import netconsd

ROOT = Path(__file__).parents[2]
PACKAGING = ROOT / "packaging"
SETUP = ConfigParser(interpolation=None)
SETUP.read(ROOT / "setup.cfg")
PROGRAMS = re.findall(r"^([\w-]+) = ", SETUP["options.entry_points"]["console_scripts"], re.MULTILINE)
SCRIPTS = sorted(
    file
    for file in PACKAGING.rglob("*")
    if file.is_file() and file.read_bytes().startswith((b"#!/usr/bin/env bash", b"# Shared"))
)
# Extras for the development of netconsd alone.
DEVELOPMENT = {
    "api-test",
    "browser",
    "clickhouse-test",
    "dev",
    "docs",
    "duckdb",
    "fuzz",
    "otlp-test",
    "servers",
    "test",
}


def pinned(name: str) -> set[str]:
    """The projects in a file of wheels, in lower case."""
    text = (PACKAGING / f"wheels/{name}.txt").read_text()
    return {match.lower().replace("_", "-") for match in re.findall(r"^([\w.-]+)==", text, re.MULTILINE)}


def required(extra: str) -> set[str]:
    """The projects that an extra of setup.cfg requires."""
    lines = SETUP["options.extras_require"][extra].splitlines()
    names = (re.match(r"[\w.-]+", line) for line in lines if line and not line.startswith(("%", "#")))
    return {name[0].lower().replace("_", "-") for name in names if name}


def test_the_version_has_one_place() -> None:
    """packaging/ has no version of netconsd: its scripts read that of the package."""
    script = f"source {PACKAGING / 'lib.sh'} && version"
    found = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True, timeout=30)
    assert found.stdout == f"{netconsd.__version__}\n"
    for file in (*SCRIPTS, PACKAGING / "netconsd.spec", PACKAGING / "debian/control", ROOT / ".packit.yaml"):
        assert netconsd.__version__ not in file.read_text(), file


def test_every_extra_is_in_a_package_of_debian() -> None:
    """The libraries of each extra for users are in a package, or TLS: those of Debian."""
    extras = set(SETUP["options.extras_require"]) - DEVELOPMENT - {"tls"}
    bundled = pinned("store") | pinned("kafka") | pinned("extras")
    for extra in extras:
        assert required(extra) <= bundled, extra
    control = (PACKAGING / "debian/control").read_text()
    assert {"python3-openssl", "python3-service-identity"} <= set(re.findall(r"[\w-]+", control))
    packages = set(re.findall(r"^Package: (.*)$", control, re.MULTILINE))
    assert packages == {"netconsd", "netconsd-store", "netconsd-kafka", "netconsd-extras"}


def test_every_extra_is_a_package_of_fedora() -> None:
    """The spec has a metapackage for each extra for users. Fedora has no python-pcapng."""
    spec = (PACKAGING / "netconsd.spec").read_text()
    match = re.search(r"pyproject_extras_subpkg -n netconsd (.*)\}", spec)
    assert match
    assert set(match[1].split()) == set(SETUP["options.extras_require"]) - DEVELOPMENT - {"pcap"}


def test_every_wheel_has_a_hash() -> None:
    """Nothing is downloaded into a package without a hash, and the build requirements are those of pyproject.toml."""
    for file in (PACKAGING / "wheels").glob("*.txt"):
        blocks = re.split(r"\n(?=\S)", file.read_text().split("\n", 1)[1].rstrip("\n"))
        assert blocks
        for block in blocks:
            assert re.fullmatch(r"[\w.-]+==[\w.]+( \\\n    --hash=sha256:[0-9a-f]{64})+", block), block
    assert pinned("build") == {"cython", "setuptools"}


def test_every_program_is_in_the_spec() -> None:
    """The spec lists the programs by name, as Fedora wants it."""
    spec = (PACKAGING / "netconsd.spec").read_text()
    assert set(re.findall(r"^%\{_bindir\}/(.*)$", spec, re.MULTILINE)) == set(PROGRAMS)


def test_debian_depends_on_the_twisted_of_debian_12() -> None:
    """The overrides name a version with the security fixes, and every requirement of netconsd."""
    lines = (PACKAGING / "debian/py3dist-overrides").read_text().splitlines()
    assert "Twisted python3-twisted (>= 22.4.0-4+deb12u1~)" in lines
    names = re.findall(r"^([\w.]+) >= ", SETUP["options"]["install_requires"], re.MULTILINE)
    assert [line.split()[0] for line in lines] == names


def test_the_rules_find_the_requirements() -> None:
    """debian/rules replaces these lines of setup.cfg on Debian 12; another version there needs another look at it."""
    lines = (ROOT / "setup.cfg").read_text().splitlines()
    assert "    Twisted >= 24.7" in lines
    assert any(line.startswith("    zope.interface >= ") for line in lines)


def test_the_profile_allows_the_directories_of_the_unit() -> None:
    """The profile of AppArmor has the directories that the unit may write, and an addition to the unit names it."""
    service = (ROOT / "contrib/systemd/netconsd.service").read_text()
    profile = (PACKAGING / "apparmor/netconsd").read_text()
    for kind, below in (("Logs", "/var/log"), ("State", "/var/lib")):
        directory = re.search(rf"^{kind}Directory=(.*)$", service, re.MULTILINE)
        assert directory
        assert f"  {below}/{directory[1]}/** rwkl,\n" in profile
    assert "AppArmorProfile=-netconsd\n" in (PACKAGING / "apparmor/apparmor.conf").read_text()
    # Enforced: a profile with the flag "complain" only logs.
    assert "\nprofile netconsd flags=(attach_disconnected) {" in profile


def test_the_profile_allows_the_commands_of_the_unit() -> None:
    """The profile has the programs of the unit, which are confined as well: a reload fails without its shell."""
    service = (ROOT / "contrib/systemd/netconsd.service").read_text()
    programs = set(re.findall(r"^Exec\w+=(\S+)", service, re.MULTILINE))
    assert programs == {"/opt/netconsd/bin/netconsd", "/bin/sh"}
    profile = (PACKAGING / "apparmor/netconsd").read_text()
    # /bin is /usr/bin, and its sh is dash or bash.
    assert "  /usr/bin/netconsd rix,\n" in profile
    assert "  /{usr/,}bin/{da,ba,}sh rix,\n" in profile


def test_packages_wait_for_the_end_of_a_reload() -> None:
    """Packages for systemd 253 and newer have the drop-in of Type=notify-reload, with their own paths."""
    rules = (PACKAGING / "debian/rules").read_text()
    assert "$(if $(filter python3.11,$(PYTHON)),,contrib/systemd/notify-reload.conf)" in rules
    spec = (PACKAGING / "netconsd.spec").read_text()
    assert "%{_unitdir}/netconsd.service.d contrib/systemd/notify-reload.conf\n" in spec
    # Where the path of a virtual environment in /opt is replaced.
    assert "debian/netconsd/$(UNITS)/*/*.conf" in rules
    assert "%{buildroot}%{_unitdir}/*/*.conf" in spec


def test_the_build_requirements_are_locked_for_all_pythons() -> None:
    """packaging/lock asks for the Pythons that setup.cfg supports."""
    match = re.search(r"^SUPPORTED = \((.*)\)$", (PACKAGING / "lock").read_text(), re.MULTILINE)
    assert match
    classifiers = re.findall(r"Python :: (3\.\d+)$", SETUP["metadata"]["classifiers"], re.MULTILINE)
    assert re.findall(r'"(3\.\d+)"', match[1]) == classifiers


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda file: file.relative_to(PACKAGING).as_posix())
def test_scripts_are_correct(script: Path) -> None:
    """Shellcheck has no objection; without it, bash accepts the script."""
    if shutil.which("shellcheck") is None:
        subprocess.run(["bash", "-n", script], check=True, timeout=30)
        return
    command = ["shellcheck", "--external-sources", "--severity=warning", "--shell=bash", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, cwd=ROOT)
    assert done.returncode == 0, done.stdout
