"""The patterns of a segment are those of its rows, and those of several segments their union."""

from __future__ import annotations

import random
from array import array
from collections import Counter
from typing import Any

import pytest

pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed: netconsd[store]")

from netconsd.store import normalise, tallies  # noqa: E402
from netconsd.store.normalise import OTHERS, SENDER_FORMS, form  # noqa: E402
from netconsd.store.patterns import EXAMPLE_LIMIT, OTHER_RELEASES, SCHEMA, Sums, host_numbers, patterns  # noqa: E402
from netconsd.store.tallies import NO_LEVEL, RELEASES_LIMIT, Tallies  # noqa: E402
from tests.support.plain_build import PlainBuild  # noqa: E402

plain = PlainBuild()

Row = tuple[str, int, int | None, str | None, str]


def table(rows: list[Row], *, chunks: int = 1) -> Any:
    """Return rows (host, microseconds, level, release, text) as the columns of a segment."""
    word = pa.dictionary(pa.int32(), pa.string())
    kinds: list[Any] = [word, pa.timestamp("us", tz="UTC"), pa.int8(), word, pa.string()]
    names = ("host", "received_at", "level", "release", "text")
    schema = pa.schema(list(zip(names, kinds, strict=True)))
    size = -(-len(rows) // chunks) or 1
    parts = [rows[at : at + size] for at in range(0, len(rows), size)]
    tables = [
        pa.table([pa.array([row[at] for row in part], kind) for at, kind in enumerate(kinds)], schema=schema)
        for part in parts
    ]
    return pa.concat_tables([schema.empty_table(), *tables])


def section(*tables: Any) -> Any:
    """Return the section of a segment whose rows are added table by table."""
    sums = Sums()
    for rows in tables:
        sums.add(rows)
    return sums.table()


def generated(seed: int, count: int = 2000) -> list[Row]:
    """Return rows of some hosts, one after the other."""
    rng = random.Random(seed)
    texts = ("eth0: link up", "disk sda: error {}", "task {}", "", "ünïcode {}", "x" * 700)
    return [
        (
            f"192.0.2.{host}",
            1_700_000_000_000_000 + rng.randrange(10**9),
            rng.choice((None, 3, 6)),
            rng.choice((None, "6.1.0", "6.12.0")),
            rng.choice(texts).format(rng.randrange(100)),
        )
        for host in range(17)
        for _ in range(count // 17)
    ]


@pytest.mark.parametrize("chunks", [1, 7])
def test_a_section_is_what_a_loop_finds(chunks: int) -> None:
    """Count, times, level, hosts and releases of each form, however the rows are cut into batches."""
    rows = generated(1)
    made = section(table(rows, chunks=chunks))
    assert made.equals(section(table(rows[:700]), table(rows[700:])))
    found = patterns([made])
    assert [pattern.form for pattern in found.values()] == list(
        dict.fromkeys(form(row[4].encode()).decode() for row in rows)
    )
    for name, pattern in found.items():
        own = [row for row in rows if form(row[4].encode()).decode() == name]
        times = [row[1] for row in own]
        levels = [row[2] for row in own if row[2] is not None]
        assert pattern.count == len(own)
        assert (round(pattern.first * 1e6), round(pattern.last * 1e6)) == (min(times), max(times))
        assert pattern.level == min(levels)
        assert pattern.hosts == {row[0] for row in own}
        assert pattern.releases == Counter(row[3] for row in own if row[3] is not None)
        assert pattern.example == own[0][4][:EXAMPLE_LIMIT]


def test_sections_of_several_segments() -> None:
    """Their union is that of their rows; the example is the earliest text."""
    first, second = generated(2), [("198.51.100.7", 5_000_000, 0, "7.3", "task 7"), *generated(3)]
    found = patterns([section(table(first)), section(table([])), section(table(second))])
    together = patterns([section(table([*first, *second]))])
    assert {
        name: (one.count, one.hosts, one.releases, one.level, one.first, one.last) for name, one in found.items()
    } == {name: (one.count, one.hosts, one.releases, one.level, one.first, one.last) for name, one in together.items()}
    assert (found["task <N>"].example, found["task <N>"].first, found["task <N>"].level) == ("task 7", 5.0, 0)


def test_a_section_survives_arrow() -> None:
    """It is an Arrow table of the documented columns; as a stream it keeps the addresses."""
    made = section(table(generated(4)))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, made.schema) as stream:
        stream.write_table(made)
    read = pa.ipc.open_stream(sink.getvalue()).read_all()
    assert read.schema.equals(SCHEMA)
    assert patterns([read]) == patterns([made])


def test_one_sender_cannot_hide_the_others() -> None:
    """Random words of one host take its places only; what finds none is counted as others."""
    rng = random.Random(5)
    words = ["".join(rng.choices("ghijklm", k=12)) for _ in range(SENDER_FORMS + 10)]
    rows: list[Row] = [("192.0.2.1", 1_000_000, 6, None, word) for word in words]
    rows.append(("192.0.2.2", 2_000_000, 3, None, "a real error"))
    found = patterns([section(table(rows))])
    assert found["a real error"].count == 1
    assert found[OTHERS.decode()].count == 10
    assert sum(pattern.count for pattern in found.values()) == len(rows)


def test_releases_have_a_bound() -> None:
    """More releases than a fleet has are counted together."""
    rows: list[Row] = [("192.0.2.1", 1_000_000, 6, f"6.{number}", "text") for number in range(RELEASES_LIMIT + 20)]
    (pattern,) = patterns([section(table(rows))]).values()
    assert sum(pattern.releases.values()) == pattern.count == len(rows)
    assert len(pattern.releases) == RELEASES_LIMIT - 1
    assert pattern.releases[OTHER_RELEASES] == 22


@pytest.mark.parametrize("build", [tallies, plain.tallies], ids=["installed", "plain"])
def test_hosts_are_packed_in_the_shorter_form(build: Any) -> None:
    """A few are numbers, many are bits; both builds make the same."""
    sums = build.Tallies()
    sums.grow(3)
    for host in range(100):
        numbers = array("Q", [0, 0, 1] if host in (0, 64, 99) else [0])
        rows = array("Q", [0] * len(numbers))
        sums.add(numbers, host, 0, rows, rows, rows)
    packed = sums.hosts(100)
    assert [one[:1] for one in packed] == [b"B", b"L", b"L"]
    assert [host_numbers(one) for one in packed] == [list(range(100)), [0, 64, 99], []]
    assert list(sums.counts) == [103, 3, 0]


@pytest.mark.parametrize("build", [tallies, plain.tallies], ids=["installed", "plain"])
def test_values_without_a_place_are_an_error(build: Any) -> None:
    """Nothing out of the bounds is written."""
    one, two = array("Q", [1]), array("Q", [0, 0])
    zero = array("Q", [0])
    for numbers, at, releases in (
        (one, 0, zero), (zero, 1, zero), (zero, -1, zero), (two, 0, zero), (zero, 0, array("Q", [RELEASES_LIMIT])),
    ):  # fmt: skip
        sums = build.Tallies()
        sums.grow(1)
        with pytest.raises(IndexError):
            sums.add(numbers, 0, at, zero, zero, releases)
    assert NO_LEVEL == build.NO_LEVEL
    assert Tallies is tallies.Tallies
    assert normalise.FORMS_LIMIT > SENDER_FORMS
