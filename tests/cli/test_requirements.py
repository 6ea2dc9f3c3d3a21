"""The comparison of installed packages with the requirements of netconsd."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError

import pytest

from netconsd.cli.requirements import mismatches

INSTALLED = {"Twisted": "24.7.0", "zope.interface": "8.7", "pytest": "8.0rc1", "Cython": "3.3.1"}


def version(name: str) -> str:
    """Return the version of a package."""
    if name not in INSTALLED:
        raise PackageNotFoundError(name)
    return INSTALLED[name]


@pytest.mark.parametrize(
    ("requirement", "text", "needed"),
    [
        (
            "Twisted>=26.4",
            "Twisted 24.7.0 is installed; netconsd requires Twisted>=26.4: pip install 'Twisted>=26.4'",
            True,
        ),
        ("Twisted (>=26.4)", "Twisted 24.7.0 ", True),
        ("Twisted[tls]>=26.4", "Twisted 24.7.0 ", True),
        ("Twisted>=24.7", "", True),
        ("Twisted>=9.8", "", True),
        ("zope.interface>=6.0", "", True),
        ('pytest>=8; extra == "metrics"', "", False),
        ('pytest<8; extra == "metrics"', "pytest 8.0rc1 ", False),
        ('Cython!=3.3.0,!=3.3.1,<3.4,>=3.1; extra == "zstd"', "Cython 3.3.1 ", False),
        ('Cython!=3.3.0,<3.4,>=3.1; extra == "zstd"', "", False),
        # For the development of netconsd only.
        ("pytest<8; extra == 'test'", "", False),
        ('pytest<8; python_version < "4" and extra == "dev"', "", False),
        ("PyYAML>=1", "PyYAML is not installed; netconsd requires PyYAML>=1", True),
        ('PyYAML>=1; extra == "metrics"', "", False),
        # Comparisons that setup.cfg does not use, and a requirement without any.
        ("Twisted~=30.1", "", True),
        ("Twisted", "", True),
    ],
)
def test_versions(requirement: str, text: str, needed: bool) -> None:
    """A version beyond the bounds is reported, and whether only an extra requires the package."""
    found = list(mismatches([requirement], version))
    assert len(found) == bool(text)
    for mismatch in found:
        assert mismatch.text.startswith(text)
        assert mismatch.needed == needed


def test_this_installation() -> None:
    """The packages that netconsd needs are installed here in supported versions."""
    assert [mismatch for mismatch in mismatches() if mismatch.needed] == []
