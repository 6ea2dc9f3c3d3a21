"""docs/store describes every column and every setting."""

from __future__ import annotations

import importlib
import inspect
import os
import textwrap
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from netconsd.protocol.message import Message
from netconsd.store import layout
from netconsd.store.journal import Journal
from netconsd.testing import extended_message

DOCS = (Path(__file__).parents[2] / "docs/store.rst").read_text()


def test_every_column_is_documented() -> None:
    """A column of the schema is in the table of columns."""
    pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'netconsd[store]'")
    from netconsd.store.segment import SCHEMA

    columns = DOCS.partition("\nColumns\n")[2]
    assert [name for name in SCHEMA.names if f"`{name}`" not in columns] == []


def test_the_query_for_duckdb(tmp_path: Path) -> None:
    """Another program reads the segments by the query of the docs."""
    if "NETCONSD_REQUIRE_STORE_TEST" not in os.environ:
        pytest.importorskip("duckdb", reason="needs duckdb: pip install 'netconsd[duckdb]'")
    duckdb: Any = importlib.import_module("duckdb")
    (tmp_path / layout.JOURNAL).mkdir()
    journal = Journal(
        tmp_path / layout.JOURNAL, 1, first_number=1, part_bytes=1 << 30, part_seconds=1e9, most_bytes=1 << 40
    )
    messages: list[Message] = [
        extended_message("x", address=f"192.0.2.{number % 3}", level=number % 8, received_at=1e9 + number, seq=number)
        for number in range(80)
    ]
    journal.append(0, messages)
    journal.close()
    compactor_module = pytest.importorskip("netconsd.store.compactor", reason="needs pyarrow")
    compactor = compactor_module.Compactor(tmp_path)
    compactor.recover()
    compactor.compact()
    query = textwrap.dedent(DOCS.partition(".. code-block:: sql\n")[2].partition("\nColumns\n")[0])
    rows = duckdb.sql(query.replace("/var/lib/netconsd/store", str(tmp_path))).fetchall()
    errors = [message for message in messages if message.level in (0, 1, 2, 3)]
    counts = Counter(message.source.address for message in errors)
    assert [(host, count) for host, count, _ in sorted(rows)] == sorted(counts.items())
    assert max(last for _, _, last in rows).timestamp() == max(message.received_at for message in errors)


def test_every_setting_is_documented_with_its_default() -> None:
    """A setting of the module is in the table of settings, with its default."""
    from modules.store import Store

    settings = DOCS.partition("\nLosses\n")[0]
    for name, parameter in inspect.signature(Store).parameters.items():
        row = settings.partition(f"\n`{name}` ")[2].partition("\n`")[0]
        assert row, name
        assert parameter.default is None or f"Default: {parameter.default}." in " ".join(row.split()), name
