"""jsonl's lines of crash reports and events, and their schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from modules.jsonl import Jsonl
from netconsd.crashes import EVENTS, KINDS, SEVERITIES, Report
from netconsd.jsonl import VERSION, finding_to_json, from_json
from netconsd.testing import crash_report, event, extended_message

SCHEMA = json.loads((Path(__file__).parents[2] / "docs/jsonl-findings.schema.json").read_text(encoding="utf-8"))
AT = 1763820245.125


def test_the_order_of_a_file(tmp_path: Path) -> None:
    """Reports and events are among the messages, in the order in which they came."""
    module = Jsonl(file=tmp_path / "m.jsonl", reports=True, events=True)
    module.start(1)
    module.handle_batch(0, [extended_message("x")])
    module.handle_report(0, crash_report())
    module.handle_event(0, event())
    module.stop()
    lines = [json.loads(line) for line in (tmp_path / "m.jsonl").read_bytes().splitlines()]
    assert [line["format"] for line in lines] == ["extended", "report", "event"]


def test_they_are_written_if_asked() -> None:
    """By default the file has messages only."""
    assert not Jsonl().wants_reports
    assert not Jsonl().wants_events
    assert Jsonl(reports=True).wants_reports
    assert Jsonl(events=True).wants_events


def test_a_report_is_read_back() -> None:
    """``Report.from_fields`` returns an equal report, without its messages."""
    report = crash_report(received_at=AT, lines=(), title='"\x1b\u20ac', alternatives=("a", "b"), pid=7, tainted="OE")
    line = finding_to_json(report)
    assert line.isascii()
    assert b"\x1b" not in line
    fields = json.loads(line)
    assert fields["time"] == "2025-11-22T14:04:05.125000Z"
    assert Report.from_fields(fields) == report


@pytest.mark.parametrize("finding", [crash_report(), event()], ids=["report", "event"])
def test_no_message(finding: Any) -> None:
    """``from_json`` refuses the line with a ValueError."""
    with pytest.raises(ValueError, match="missing"):
        from_json(finding_to_json(finding))


def test_a_time_that_is_none() -> None:
    """It is refused, since JSON has no NaN."""
    with pytest.raises(ValueError, match="received_at"):
        finding_to_json(crash_report(received_at=float("nan")))


@pytest.mark.parametrize(("number", "finding"), [(0, crash_report()), (1, event())], ids=["report", "event"])
def test_the_schema(number: int, finding: Any) -> None:
    """It names every field, the version, and the closed sets."""
    schema = SCHEMA["oneOf"][number]
    line = json.loads(finding_to_json(finding))
    assert list(line) == schema["required"] == list(schema["properties"])
    assert schema["properties"]["version"] == {"const": VERSION}
    assert schema["properties"]["format"] == {"const": line["format"]}
    assert schema["properties"]["kind"] == {"enum": list(EVENTS if number else KINDS)}
    if not number:
        assert schema["properties"]["severity"] == {"enum": list(SEVERITIES)}
