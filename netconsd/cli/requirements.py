"""Compares the installed versions of Python packages with those that netconsd requires, for ``netconsd check``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, requires, version
from typing import NamedTuple

#: The comparisons of PEP 440 that setup.cfg uses.
_COMPARISONS: dict[str, Callable[[tuple[int, ...], tuple[int, ...]], bool]] = {
    ">=": lambda installed, bound: installed >= bound,
    "<": lambda installed, bound: installed < bound,
    "!=": lambda installed, bound: installed != bound,
}

# Extras whose packages the daemon does not use: a new virtual environment of Python 3.11 has an old setuptools, and
# needs no other.
_DEVELOPMENT = ("test", "docs", "dev", "fuzz")


class Mismatch(NamedTuple):
    """An installed package whose version netconsd does not support."""

    text: str
    needed: bool
    """False if only an extra of netconsd requires the package, such as ``metrics``."""


def mismatches(
    requirements: Sequence[str] | None = None, installed: Callable[[str], str] = version
) -> Iterator[Mismatch]:
    """Compare each package that is installed; one that is not installed and not needed is no mismatch.

    Packages for the development of netconsd are not compared.

    :param requirements: as in the metadata of a package; by default those of the installed netconsd, and none if it
        runs from a directory without metadata.
    :param installed: returns the version of an installed package, or raises PackageNotFoundError.
    """
    seen = set()
    for requirement in _own() if requirements is None else requirements:
        specifier, _, marker = map(str.strip, requirement.partition(";"))
        match = re.match(r"\s*([A-Za-z0-9._-]+)(?:\[[^\]]*\])?\s*\(?([^)]*)\)?", specifier)
        if match is None or (match[1], match[2]) in seen:
            continue
        extra = re.search(r"""extra\s*==\s*["']([^"']+)""", marker)
        needed = extra is None
        if extra is not None and extra[1] in _DEVELOPMENT:
            continue
        seen.add((match[1], match[2]))
        try:
            found = installed(match[1])
        except PackageNotFoundError:
            if needed:
                yield Mismatch(f"{match[1]} is not installed; netconsd requires {specifier}", needed)
            continue
        if not all(_holds(found, bound) for bound in match[2].split(",")):
            wanted = f"netconsd requires {specifier}: pip install '{specifier}'"
            yield Mismatch(f"{match[1]} {found} is installed; {wanted}", needed)


def _own() -> Sequence[str]:
    try:
        return requires("netconsd") or ()
    except PackageNotFoundError:
        return ()


def _holds(found: str, bound: str) -> bool:
    """True if a version meets one comparison, or setup.cfg does not use that comparison."""
    match = re.fullmatch(r"\s*(>=|<|!=)\s*([0-9.]+)\s*", bound)
    if match is None:
        return True
    return _COMPARISONS[match[1]](_numbers(found), _numbers(match[2]))


def _numbers(text: str) -> tuple[int, ...]:
    """The release of a version, without zeros at its end: ``(26, 4)`` for ``26.4.0rc1``."""
    match = re.match(r"[0-9]+(?:\.[0-9]+)*", text)
    numbers = [int(part) for part in match[0].split(".")] if match else []
    while numbers and not numbers[-1]:
        numbers.pop()
    return tuple(numbers)
