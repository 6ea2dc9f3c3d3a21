"""The schema of jsonl's format, docs/jsonl.schema.json, describes the lines that are written."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from netconsd.jsonl import VERSION, finding_to_json, to_json
from netconsd.protocol.message import LegacyDatagram, Message
from netconsd.testing import crash_report, event, extended_message, legacy_message, source

DOCS = Path(__file__).parents[2] / "docs"
SCHEMA = json.loads((DOCS / "jsonl.schema.json").read_text(encoding="utf-8"))

MESSAGES = [
    extended_message("text"),
    extended_message(
        "text \xe9",
        address="fe80::1",
        caller="T1",
        dictionary={"SUBSYSTEM": "usb"},
        userdata={"rack": "r17"},
        cpu=3,
        taskname="init",
        release="6.12.0",
        msgid=9,
        missing=3,
        lost=2,
        new=True,
    ),
    extended_message(b"\xff\xfe", seq=2**64 - 1, lost=0),
    legacy_message("<4>[    1.000000] line"),
    legacy_message(b"\xff"),
    LegacyDatagram(source(), 1.5, b"half a li"),
]

TYPES: Mapping[str, Any] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "object": dict,
    "null": type(None),
}


def violations(schema: Mapping[str, Any], value: Any, where: str = "line") -> list[str]:
    """The differences between a value and a schema, for the keywords that the schema has."""
    types = schema.get("type", [])
    types = [types] if isinstance(types, str) else types
    fits = [name for name in types if isinstance(value, TYPES[name]) and (name == "boolean") == isinstance(value, bool)]
    if types and not fits:
        return [f"{where}: {value!r} is not {types}"]
    found = []
    if "const" in schema and value != schema["const"]:
        found.append(f"{where}: {value!r} is not {schema['const']!r}")
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{where}: {value!r} is not in {schema['enum']}")
    if "pattern" in schema and not re.search(schema["pattern"], value):
        found.append(f"{where}: {value!r} does not match")
    if isinstance(value, int) and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        found.append(f"{where}: {value!r} is out of range")
    if isinstance(value, dict):
        found += [f"{where}: {name} is missing" for name in schema.get("required", ()) if name not in value]
        for name, item in value.items():
            inner = schema.get("properties", {}).get(name, schema.get("additionalProperties", True))
            if inner is False or (where == "line" and name not in schema["properties"]):
                found.append(f"{where}: {name} is not in the schema")
            elif inner is not True:
                found += violations(inner, item, f"{where}.{name}")
    return found


@pytest.mark.parametrize("message", MESSAGES, ids=str)
def test_lines_have_the_schema(message: Message) -> None:
    """Each line has every field of the schema, in its order and of its type, and no other."""
    value = json.loads(to_json(message))
    assert violations(SCHEMA, value) == []
    assert list(value) == SCHEMA["required"] == list(SCHEMA["properties"])


def test_the_check_finds_violations() -> None:
    """The check of this file sees a wrong type, number, choice, text and field, and a missing one."""
    value = json.loads(to_json(MESSAGES[0]))
    wrong: dict[str, Any] = {"level": "6", "port": 65536, "format": "x", "time": "now", "cpu": True, "version": 2}
    wrong["bytes"] = {"text": ""}
    for name, item in wrong.items():
        assert len(violations(SCHEMA, {**value, name: item})) == 1, name
    assert len(violations(SCHEMA, {**value, "other": 1})) == 1
    del value["seq"]
    assert violations(SCHEMA, value) == ["line: seq is missing"]


def test_the_version_is_that_of_the_code() -> None:
    """The schema and the page name the version that is written."""
    assert SCHEMA["properties"]["version"]["const"] == VERSION
    assert f"version {VERSION}" in SCHEMA["title"]
    assert f"Version {VERSION}" in (DOCS / "jsonl.rst").read_text(encoding="utf-8")


def test_the_page_has_every_field() -> None:
    """docs/jsonl describes each field in the words of the schema."""
    page = " ".join((DOCS / "jsonl.rst").read_text(encoding="utf-8").split())
    absent = [name for name, field in SCHEMA["properties"].items() if f"`{name}` {field['description']}" not in page]
    assert absent == []


def test_the_columns_for_duckdb(tmp_path: Path) -> None:
    """By docs/examples/messages.sql, DuckDB reads every value as it was written, in files of any length, rotated or
    compressed, and passes over reports and events. By itself it would take a column for empty (DuckDB 2.0), or fail."""
    duckdb = pytest.importorskip("duckdb", reason="needs netconsd[store]")
    sql = (DOCS / "examples" / "messages.sql").read_text(encoding="utf-8")
    assert re.findall(r"(\w+): '", sql) == list(SCHEMA["properties"])
    odd = [
        *MESSAGES,
        extended_message(
            "nul \0, \x1b[31m, \U0001f600", seq=2**64 - 2, ts_usec=2**64 - 1, userdata={"": "x", 'a"b': "\\"}
        ),
        extended_message("y" * 67_000, facility=255),
        extended_message("2026-11-29", ts_usec=0, release="6.10", taskname="1e5"),
    ]
    # More lines than DuckDB looks at.
    plain = to_json(legacy_message("plain", received_at=1.0)) + b"\n"
    lines = [to_json(message) + b"\n" for message in odd]
    findings = [finding_to_json(finding) + b"\n" for finding in (crash_report(release="6.12.0"), event(how="crash"))]
    (tmp_path / "messages.jsonl").write_bytes(b"".join([plain * 20_480, *findings, *lines]))
    with gzip.open(tmp_path / "messages.jsonl.2.gz", "wb") as file:
        file.write(plain)
    with duckdb.connect() as connection:
        connection.execute(sql.replace("messages.jsonl*", f"{tmp_path}/messages.jsonl*"))
        found = connection.execute(
            "SELECT * REPLACE (epoch_us(time) AS time) FROM messages WHERE text != 'plain'"
        ).fetchall()
        assert connection.execute("SELECT count(*) FROM messages").fetchone() == (20_481 + len(odd),)
    expected = [json.loads(line) for line in lines]
    for fields in expected:
        fields["time"] = round(fields["received_at"] * 1e6)
    assert [dict(zip(SCHEMA["properties"], row, strict=True)) for row in found] == expected
