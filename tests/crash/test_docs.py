"""docs/crashes names each kind, severity and bound as the code has it."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from netconsd.crash import lines
from netconsd.crash.recogniser import LINGER, SEEN_LIMIT, SILENCE, Limits
from netconsd.crash.report import FRAMES_LIMIT, KINDS, SEVERITIES, Report

PAGE = " ".join((Path(__file__).parents[2] / "docs" / "crashes.rst").read_text().split())


@pytest.mark.parametrize(("word", "meaning"), [*KINDS.items(), *SEVERITIES.items()])
def test_a_word(word: str, meaning: str) -> None:
    """Each kind and severity is described as in the code."""
    assert f"`{word}` {meaning}" in PAGE


@pytest.mark.parametrize("name", [field.name for field in fields(Report)])
def test_a_field(name: str) -> None:
    """Each field is described."""
    assert f"`{name}`" in PAGE


def test_bounds() -> None:
    """The bounds are those of the code."""
    limits = Limits()
    for text in (
        f"{limits.open_reports} open reports",
        f"{limits.lines} lines, or {limits.bytes >> 10} KiB",
        f"{limits.watched_lines:,} lines",
        f"{limits.reports_per_minute} reports of a sender in a minute",
        f"{limits.before} of the last minute",
        f"{SEEN_LIMIT} titles",
        f"{FRAMES_LIMIT} frames",
        f"{lines.LINE_LIMIT} characters of a line, {lines.LINES_OF_A_MESSAGE_LIMIT} lines of a message",
        f"after {SILENCE:.0f} seconds without a line",
        f"waits {LINGER:.0f} second",
    ):
        assert text in PAGE
