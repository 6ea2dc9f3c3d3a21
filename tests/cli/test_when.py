"""Times on a command line."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from netconsd.cli.when import joined
from netconsd.store.when import moment

# 2026-11-28 08:30:00 UTC.
NOW = 1795854600.0


@pytest.fixture(autouse=True)
def zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An hour east of Greenwich."""
    monkeypatch.setenv("TZ", "XXX-1")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("now", 0),
        ("90s", -90),
        ("10m", -600),
        ("10 min ago", -600),
        ("-2h", -7200),
        ("3 days ago", -3 * 86400),
        ("1w", -7 * 86400),
        ("@1795854000", -600),
        ("09:00", -1800),
        ("08:00Z", -1800),
        ("today", -9.5 * 3600),
        ("yesterday", -33.5 * 3600),
        ("today UTC", -8.5 * 3600),
        ("2026-11-28", -9.5 * 3600),
        ("2026-11-28 09:29", -60),
        ("2026-11-28T08:29:59Z", -1),
        ("2026-11-28T08:29:59.250Z", -0.75),
        ("2026-11-28 08:29:59 UTC", -1),
        ("-1h30m", -5400),
        ("1h 30min ago", -5400),
        ("+5min", 300),
        ("1.5h", -5400),
        ("1 month ago", -2629800),
        ("tomorrow", 14.5 * 3600),
        ("yesterday 09:30", -86400),
        ("Sat 2026-11-28 09:29", -60),
        ("2026-11-28 10:00 Europe/Athens", -1800),
        # As the formats full and short show them: a time is copied from the output.
        ("2026-11-28 09:29:59.000+01:00", -1),
        ("2026-11-28 08:29:59.500+00:00", -0.5),
        ("11-28 09:29:59", -1),
        ("12-31 09:30", -332 * 86400),
    ],
)
def test_forms(text: str, seconds: float) -> None:
    """Each form, in the machine's zone or in UTC."""
    assert moment(text, NOW) == NOW + seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "soon",
        "5 parsecs",
        "2026-13-01",
        "25:00",
        "@",
        "1e9",
        "+2h ago",
        "Sat",
        "2026-11-2809:00",
        "today5",
        "2026-11-28 UTC+",
        "07:00 Nowhere/Land",
        "02-30",
    ],
)
def test_other_texts(text: str) -> None:
    """The error shows the forms."""
    with pytest.raises(ValueError, match='is not a time: write "2h"'):
        moment(text, NOW)


def test_a_span_with_a_minus_is_a_value() -> None:
    """It is no option, as in ``journalctl --since -2h``; other words stay as they are."""
    assert joined(["--since", "-2h", "-U", "-5min", "-n", "-3", "--grep", "-2h"]) == [
        *("--since=-2h", "-U-5min", "-n", "-3", "--grep", "-2h")
    ]
    assert joined(["--since", "--until"]) == ["--since", "--until"]
