"""Patterns for Python's ``re`` whose time is bounded."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netconsd.logger.bounded_re import LINE_LIMIT, REPEATS_LIMIT, _exponent, search_of


@pytest.mark.parametrize(
    "pattern",
    [
        "^usb .*: new .*-speed USB device",
        "(?i)audit",
        "usb.*reset.*failed",
        "(usb|pci).*reset.*failed",
        "(?P<bus>usb|pci) [0-9]+",
        "a{3}b",
        "[]*+]a",
        r"\(?:a",
        r"(a|b)?c",
        "^a.*b.*c.*d",
        "|".join(["a.*b.*c"] * 50),
    ],
)
def test_usual_patterns(pattern: str) -> None:
    """A pattern with few repeats is compiled as it is."""
    assert search_of(pattern).pattern == pattern.encode()


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("(a+)+$", "repeats a group"),
        ("(a|aa)*b", "repeats a group"),
        ("(?:a|aa){2,9}b", "repeats a group"),
        ("(?P<name>a)+?", "repeats a group"),
        (r"(a)\1", "has the backreference"),
        ("(?=a)", "has '(?='"),
        ("(?<!a)b", "has '(?<'"),
        ("(?>a)b", "has '(?>'"),
        ("(?x)a b", "has '(?x)'"),
        ("a.*b.*c.*d", "counts as 4 repeats"),
        ("a{2,}b{1,9}c+", "counts as 4 repeats"),
        ("a?" * 30 + "a" * 30, "counts as 4.75 repeats"),
        ("^" + "(a|a)" * 30, "counts as 3.75 repeats"),
        ("^a|b.*c.*d.*e|f", "counts as 4 repeats"),
        ("a(", "is not a regular expression of Python's re: missing )"),
        ("[[:digit:]]", "is not a regular expression of Python's re: Possible nested set"),
        ("a{99999999999}", "is not a regular expression of Python's re: the repetition number is too large"),
    ],
)
def test_refused_patterns(pattern: str, reason: str) -> None:
    """A pattern whose time is not bounded, or that ``re`` rejects, is an error with the reason."""
    with pytest.raises(ValueError, match=re.escape(reason)):
        search_of(pattern)


_ATOMS = st.sampled_from(["a", "b", ".", r"\d", "[ab]", "[^]a]", "(a|b)", "(?:a|a|b)", "(?i:a)", r"\(", "|", "^", "$"])
_REPEATS = st.sampled_from(["", "", "*", "+", "?", "*?", "+?", "??", "{2}", "{0,9}", "{3,}"])


@given(st.lists(st.tuples(_ATOMS, _REPEATS), max_size=12))
def test_every_accepted_pattern_is_within_the_bound(parts: list[tuple[str, str]]) -> None:
    """No text raises anything but ValueError, and in an accepted pattern no part exceeds the limit of repeats."""
    pattern = "".join(atom + repeat for atom, repeat in parts)
    try:
        compiled = search_of(pattern)
    except ValueError:
        return
    assert _exponent(pattern) <= REPEATS_LIMIT
    branches: list[int] = [0]
    for atom, repeat in parts:
        if atom == "|":
            branches.append(0)
        branches[-1] += repeat[:1] in ("*", "+") or repeat in ("{0,9}", "{3,}")
    assert max(branches) <= REPEATS_LIMIT
    compiled.search(b"ab" * (LINE_LIMIT // 2))
