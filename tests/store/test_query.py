"""The reader of a store: conditions, order, limits, damage, and files that move while they are read."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from netconsd.protocol.message import Message
from netconsd.store import layout
from netconsd.store.journal import Journal
from netconsd.testing import extended_message, legacy_message
from tests.support import captures

pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'netconsd[store]'")
from netconsd.store import Store, index, segment
from netconsd.store import compactor as compactor_module
from netconsd.store import query as query_module
from netconsd.store.compactor import Compactor
from netconsd.store.query import Query, required_words, smart_case
from netconsd.store.reader import Stored

HOUR = 3600.0
T0 = 1_795_859_200.0


def said(text: str, at: float, host: int = 1, **fields: Any) -> Message:
    """Return a message of a host."""
    return extended_message(text, address=f"192.0.2.{host}", received_at=at, **fields)


def write(directory: Path, number: int, messages: list[Message]) -> None:
    """Add messages to the journal of a store as one part."""
    (directory / layout.JOURNAL).mkdir(exist_ok=True)
    journal = Journal(
        directory / layout.JOURNAL, 1, first_number=number, part_bytes=1 << 30, part_seconds=1e9, most_bytes=1 << 40
    )
    journal.append(0, messages)
    journal.sync()
    journal.close()


def compact(directory: Path) -> Compactor:
    """Make a segment of the journal."""
    compactor = Compactor(directory)
    compactor.recover()
    compactor.compact()
    return compactor


def texts(found: Iterator[Stored]) -> list[str]:
    """Return the texts of messages."""
    return [each.message.text for each in found]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store of three segments, whose times overlap, and a journal: the text of a message is its place in time."""
    order = list(range(400))
    random.Random(7).shuffle(order)
    order.sort(key=lambda place: place // 60)
    for part in range(4):
        some = order[part * 100 : part * 100 + 100]
        write(
            tmp_path,
            part + 1,
            [
                said(
                    f"place {place:03d}", T0 + place, host=place % 7, seq=place, level=place % 8, release=f"7.{part}.1"
                )
                for place in some
            ],
        )
        if part < 3:
            compact(tmp_path)
    assert len(layout.segment_files(tmp_path)) == 3
    return tmp_path


ALL = [f"place {place:03d}" for place in range(400)]


def test_messages_are_in_the_order_of_time(store: Path) -> None:
    """All messages of overlapping segments and the journal, once, in either direction; and the newest ones."""
    assert texts(Store(store).messages()) == ALL
    assert texts(Store(store).messages(newest_first=True)) == ALL[::-1]
    for limit in (0, 1, 3, 100, 399, 400, 1000):
        newest = ALL[400 - limit :] if limit < 400 else ALL
        assert texts(Store(store).messages(limit=limit)) == (newest if limit else [])
        assert texts(Store(store).messages(limit=limit, newest_first=True)) == (newest[::-1] if limit else [])


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ({"since": T0 + 100, "until": T0 + 102}, lambda place: 100 <= place <= 102),
        ({"hosts": ["192.0.2.3"]}, lambda place: place % 7 == 3),
        ({"hosts": ["192.0.2.2/31"]}, lambda place: place % 7 in (2, 3)),
        ({"hosts": ["::ffff:192.0.2.3"]}, lambda place: place % 7 == 3),
        ({"hosts": ["*.2.[01]", "192.0.2.6"]}, lambda place: place % 7 in (0, 1, 6)),
        ({"hosts": ["192.0.2.99"]}, lambda place: False),
        ({"hosts": ["2001:db8::7", "fe80::*"]}, lambda place: False),
        ({"level": 3}, lambda place: place % 8 <= 3),
        ({"grep": "place 1.7"}, lambda place: f"{place:03d}"[::2] == "17"),
        ({"grep": "PLACE 017"}, lambda place: False),
        ({"grep": "PLACE 017", "ignore_case": True}, lambda place: place == 17),
        ({"grep": "absent"}, lambda place: False),
        ({"exclude": "place [01]"}, lambda place: place >= 200),
        ({"release": "7.1"}, lambda place: 100 <= place < 200),
        ({"release": "7.*"}, lambda place: True),
        ({"release": "7"}, lambda place: True),
        ({"release": "7.1.10"}, lambda place: False),
        (
            {"grep": "9$", "hosts": ["192.0.2.3"], "level": 4},
            lambda place: place % 10 == 9 and place % 7 == 3 and place % 8 <= 4,
        ),
    ],
)
def test_conditions(store: Path, arguments: dict[str, Any], wanted: Callable[[int], bool]) -> None:
    """Each condition, in segments and in the journal."""
    if arguments.get("release") == "7.1":
        assert len(set(texts(Store(store).messages(**arguments)))) == 100
        return
    expected = [text for text in ALL if wanted(int(text[-3:]))]
    assert texts(Store(store).messages(**arguments)) == expected
    assert texts(Store(store).messages(**arguments, limit=5)) == expected[-5:]


def test_names_and_userdata(tmp_path: Path) -> None:
    """A name is that of the sender, also for messages that do not have it; KEY=VALUE is that of the message."""
    messages = [
        said("named", T0, 1, userdata={"host": "Web01", "role": "web"}),
        legacy_message("no name\n", address="192.0.2.1", received_at=T0 + 1),
        said("other", T0 + 2, 2, userdata={"host": "db01", "role": "database"}),
    ]
    write(tmp_path, 1, messages)
    for _ in range(2):
        store = Store(tmp_path)
        assert texts(store.messages(hosts=["web*"])) == ["named", "no name"]
        assert texts(store.messages(hosts=["role=web"])) == ["named"]
        assert texts(store.messages(hosts=["role=*a*", "192.0.2.1"])) == ["named", "no name", "other"]
        compact(tmp_path)


def test_boots(tmp_path: Path) -> None:
    """The last boot of each sender, the one before, and a boot by its id; across segments and journal."""
    for part in range(3):
        messages: list[Message] = []
        for host in (1, 2):
            if part == 0 and host == 2:
                continue
            message = said(f"{host} boot {part}", T0 + 1000 * part + host, host, seq=1, ts_usec=1_000_000)
            message._boot = True
            messages += [
                message,
                said(f"{host} later {part}", T0 + 1000 * part + 9 + host, host, seq=2, ts_usec=10_000_000),
            ]
        write(tmp_path, part + 1, messages)
        if part < 2:
            compact(tmp_path)
    store = Store(tmp_path)
    assert texts(store.messages(boot=0)) == ["1 boot 2", "2 boot 2", "1 later 2", "2 later 2"]
    assert texts(store.messages(boot=-1)) == ["1 boot 1", "2 boot 1", "1 later 1", "2 later 1"]
    assert texts(store.messages(boot=-2)) == ["1 boot 0", "1 later 0"]
    assert texts(store.messages(boot=-3)) == []
    [last] = {each.boot for each in store.messages(boot=-1, hosts=["192.0.2.1"])}
    assert texts(store.messages(boot=last, hosts=["192.0.2.1"])) == ["1 boot 1", "1 later 1"]


def test_an_identity_finds_its_message(store: Path) -> None:
    """The identity of each message is its own, finds it, and stays the same when the journal becomes a segment."""
    write(store, 9, [legacy_message("twice\n", address="192.0.2.9", received_at=T0 + 500)] * 2)
    before = {each.id: each for each in Store(store).messages()}
    assert len(before) == 402
    compact(store)
    reader = Store(store)
    assert {each.id: each for each in reader.messages()} == before
    for identity in ["192.0.2.9/@1795859700000000/1", *list(before)[::80]]:
        assert reader.message(identity) == before[identity]
    assert reader.message("192.0.2.9/@1795859700000000/2") is None
    with pytest.raises(ValueError, match=r"^identity: "):
        reader.message("192.0.2.9")


def test_the_same_time(tmp_path: Path) -> None:
    """Messages of one time are in the order of the store in both directions, across batches and segments."""
    for part in range(3):
        write(
            tmp_path, part + 1, [said(f"{part} {number:04d}", T0, seq=part * 5000 + number) for number in range(5000)]
        )
        if part < 2:
            compact(tmp_path)
    expected = [f"{part} {number:04d}" for part in range(3) for number in range(5000)]
    assert texts(Store(tmp_path).messages()) == expected
    assert texts(Store(tmp_path).messages(newest_first=True)) == expected[::-1]


@pytest.mark.parametrize("newest_first", [False, True])
def test_files_that_move(store: Path, newest_first: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is found twice or missing if the compactor empties the journal and merges segments during a search."""
    monkeypatch.setattr(query_module, "BATCH_ROWS", 10)
    found = Store(store).messages(newest_first=newest_first)
    first = [next(found) for _ in range(15)]
    compactor = compact(store)
    compactor.merge()
    names = [file.name for file in layout.segment_files(store)]
    monkeypatch.setattr(compactor, "_to_merge", lambda names=names: names)
    compactor.merge()
    assert len(layout.segment_files(store)) == 1
    assert [each.message.text for each in [*first, *found]] == (ALL[::-1] if newest_first else ALL)


def test_a_part_that_becomes_a_segment_while_files_are_listed(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A message that is in the journal and in a segment is found once."""
    reader = Store(store)
    listing = layout.segment_files

    def late(directory: Path) -> Any:
        monkeypatch.undo()
        compact(store)
        return listing(directory)

    monkeypatch.setattr(layout, "segment_files", late)
    assert texts(reader.messages()) == ALL


def test_what_is_kept_for_the_next_search(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The footers and the senders of the segments that were searched last are read once, within the bounds; a removed
    segment is not searched."""
    reads: list[tuple[str, str]] = []
    opening, sections = segment.open_segment, index.Index.section

    def opened(path: Path, footer: Any = None) -> Any:
        if footer is None:
            reads.append(("footer", path.name))
        return opening(path, footer)

    def section(self: index.Index, name: str) -> bytes | None:
        if name == "hosts":
            reads.append((name, self.path.name))
        return sections(self, name)

    monkeypatch.setattr(segment, "open_segment", opened)
    monkeypatch.setattr(index.Index, "section", section)
    monkeypatch.setattr(index, "NEWEST_ROWS", 0)
    reader = Store(store)
    query: dict[str, Any] = {"hosts": ["192.0.2.0/24"]}
    expected = texts(reader.messages(**query))
    assert expected
    first = sorted(reads)
    assert len(set(first)) == len(first) == 2 * len(layout.segment_files(store))
    assert texts(reader.messages(**query)) == expected
    assert sorted(reads) == first
    monkeypatch.setattr(query_module, "KEPT_SEGMENTS", 1)
    monkeypatch.setattr(query_module, "KEPT_BYTES", 0)
    reader = Store(store)
    for searches in (1, 2):
        reads.clear()
        assert texts(reader.messages(**query)) == expected
        assert sorted(reads) == first, searches
    assert [len(kept) for kept in (reader._files._footers, reader._files._senders)] == [1, 0]
    layout.segment_files(store)[0].path.unlink()
    assert len(texts(Store(store).messages(**query))) < len(expected)


def test_a_store_whose_files_are_always_gone(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A search does not begin again for ever."""

    def gone(path: Path, footer: Any) -> Any:
        raise FileNotFoundError(2, os.strerror(2), str(path))

    monkeypatch.setattr(segment, "open_segment", gone)
    with pytest.raises(FileNotFoundError):
        list(Store(store).messages())


def test_damage_is_named_and_counted(store: Path) -> None:
    """Messages of damaged row groups and blocks are counted; an index that is damaged or missing costs no message."""
    first, second, third = layout.segment_files(store)
    data = bytearray(first.path.read_bytes())
    with segment.open_segment(first.path)[0] as opened:
        text = opened.metadata.row_group(0).column(segment.SCHEMA.get_field_index("text"))
    data[text.data_page_offset + text.total_compressed_size - 9] ^= 0x55
    first.path.write_bytes(data)
    second.index.unlink()
    damaged = bytearray(third.index.read_bytes())
    damaged[60] ^= 0x55
    third.index.write_bytes(damaged)
    [part] = (store / layout.JOURNAL).glob("*.journal")
    data = bytearray(part.read_bytes())
    data[200] ^= 0x55
    part.write_bytes(data + bytes(1))
    named: dict[str, int] = {}
    reader = Store(store, damaged=named.__setitem__)
    for newest_first in (False, True):
        found = texts(reader.messages(newest_first=newest_first))
        assert len(found) == 200, named
        assert found == sorted(found, reverse=newest_first)
    assert sorted(named.values()) == [0, 0, 100, 100]
    for path in (first.path, second.index, third.index, part):
        assert [text for text in named if text.startswith(f"{path}: ")], path


def test_damage_in_the_newest_rows_of_an_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The segment is read in their place, and nothing is found twice; an index that is made again is used."""
    for module in (segment, compactor_module):
        monkeypatch.setattr(module, "GROUP_ROWS", 16)
    monkeypatch.setattr(index, "NEWEST_ROWS", 8)
    write(tmp_path, 1, [said(f"place {place:03d}", T0 + place, host=place % 7, seq=place) for place in range(400)])
    compact(tmp_path)
    [file] = layout.segment_files(tmp_path)
    head = index.read(file.index)
    assert head.newest_after is not None
    whole = file.index.read_bytes()
    data = bytearray(whole)
    data[head.sections["newest"].offset + 99] ^= 0x55
    file.index.write_bytes(data)
    named: dict[str, int] = {}
    reader = Store(tmp_path, damaged=named.__setitem__)
    for limit in (3, 8, 9, 100, None):
        found = texts(reader.messages(newest_first=True, limit=limit))
        assert found == ALL[::-1][:limit]
    [text] = named
    assert text.startswith(f"{file.index}: ")
    file.index.write_bytes(whole)
    opened: list[Path] = []
    monkeypatch.setattr(segment, "open_segment", opened.append)
    assert texts(reader.messages(newest_first=True, limit=3)) == ALL[::-1][:3]
    assert texts(reader.messages(grep="39", limit=5)) == ALL[-5:]
    assert opened == []


def test_skipped_segments_are_not_read(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No segment is opened for a word, a sender or a time that its index excludes, nor after the limit is reached."""
    opened = []
    open_segment = segment.open_segment

    def noted(path: Path, footer: Any) -> Any:
        opened.append(path)
        return open_segment(path, footer)

    monkeypatch.setattr(segment, "open_segment", noted)
    reader = Store(store)
    for arguments in ({"grep": "absent"}, {"hosts": ["192.0.2.99"]}, {"since": T0 + 500}, {"limit": 3}):
        assert len(texts(reader.messages(**arguments))) <= 3
        assert opened == [], arguments
    texts(reader.messages(grep="place 001"))
    assert opened


def test_progress_and_cancelling(store: Path) -> None:
    """Each segment is reported; a search that is cancelled gives what it has found."""
    steps: list[Any] = []
    list(Store(store).messages(progress=steps.append))
    assert [(step.done, step.total) for step in steps] == [(1, 3), (2, 3), (3, 3)]
    assert [step.reached for step in steps] == sorted(step.reached for step in steps)
    steps.clear()
    found = texts(Store(store).messages(progress=steps.append, cancelled=lambda: bool(steps), newest_first=True))
    assert len(steps) == 1
    assert found and len(found) < 400


def test_hosts_and_counts(store: Path) -> None:
    """Numbers per sender and per minute, the same with and without the indexes."""
    expected_minutes: dict[tuple[int, int], int] = {}
    for place in range(400):
        key = int((T0 + place) // 60 * 60), place % 8
        expected_minutes[key] = expected_minutes.get(key, 0) + 1
    for damaged in (False, True):
        if damaged:
            for file in layout.segment_files(store):
                file.index.unlink()
        reader = Store(store)
        hosts = reader.hosts()
        assert [host.address for host in hosts] == [f"192.0.2.{host}" for host in range(7)]
        assert [host.messages for host in hosts] == [len(range(host, 400, 7)) for host in range(7)]
        assert (hosts[0].first, hosts[0].last) == (T0, T0 + 399)
        assert [host.address for host in reader.hosts(hosts=["*.3"])] == ["192.0.2.3"]
        counts = {(minute, level): count for minute, level, count in reader.counts()}
        assert counts == expected_minutes
        some = reader.counts(hosts=["192.0.2.3"], level=0)
        assert sum(count for _, _, count in some) == len([place for place in range(400) if place % 56 == 24])
        assert {minute for minute, _, _ in reader.counts(since=T0 + 70, until=T0 + 70)} == {int((T0 + 70) // 60 * 60)}


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"grep": "("}, "grep"),
        ({"exclude": "(?=x)"}, "exclude"),
        ({"grep": "x" * 5000}, "grep"),
        ({"level": 8}, "level"),
        ({"since": 2.0, "until": 1.0}, "until"),
        ({"hosts": [""]}, "hosts"),
        ({"hosts": ["192.0.2.0/99"]}, "hosts"),
        ({"hosts": ["web01@192.0.2.7:6665"]}, "hosts"),
        ({"hosts": ["[2001:db8::7]:6665"]}, "hosts"),
        ({"limit": -1}, "limit"),
    ],
)
def test_wrong_arguments(store: Path, arguments: dict[str, Any], name: str) -> None:
    """A wrong argument is an error at once, whose text begins with its name."""
    with pytest.raises(ValueError, match=f"^{name}: "):
        Store(store).messages(**arguments)


def test_a_directory_that_is_no_store(tmp_path: Path) -> None:
    """It is an error, not an empty store."""
    with pytest.raises(FileNotFoundError):
        Store(tmp_path)


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("link is down", ["link is down"]),
        ("eth[0-9]+: link", ["eth", ": link"]),
        (r"eth\d: up", ["eth", ": up"]),
        (r"a\.b", ["a.b"]),
        ("abc|def", []),
        (r"abc(\)|x)|def", []),
        ("abc(d|e)fgh", ["abc", "fgh"]),
        ("abcd*e", ["abc", "e"]),
        ("abc?", ["ab"]),
        ("abc{0,2}d", ["ab", "d"]),
        ("abc+d", ["abc", "d"]),
        ("[]|]abc[^]|]def", ["abc", "def"]),
        ("[[:alpha:]|]abc", ["abc"]),
        (r"\Qa|b\E", []),
        (r"\x41bc", []),
        ("(?i)abc", ["abc"]),
        ("abc(?i)def", ["abc", "def"]),
        ("(?P<Name>x)abc", ["abc"]),
        (r"\babc\b|", []),
        (r"\babc\Bd", ["abc", "d"]),
        ("^abc$", ["abc"]),
        ("ab{2}{3}c", ["a", "c"]),
        ("a{bcd}efg", ["efg"]),
        ("ab+?c", ["ab", "c"]),
        (r"a\-b\_c", ["a-b_c"]),
        (r"\pLabc", []),
        ("(a|b)|(c)", []),
        ("", []),
    ],
)
def test_words_that_an_expression_requires(pattern: str, words: list[str]) -> None:
    """Only words that every match contains."""
    assert required_words(pattern) == words


def test_every_match_has_the_required_words() -> None:
    """Expressions of random parts: a text that matches has every word."""
    random_ = random.Random(5)
    parts = [
        "ab",
        "c",
        "(de|f)",
        "[gh]",
        "i*",
        "j?",
        r"\.",
        ".",
        "k+",
        "(l)?",
        "m{0,1}",
        r"\d",
        "(?:n[)]|o)",
        "|",
        "^",
        "$",
    ]
    alphabet = "abcdefghijklmno.7)"
    matches = 0
    for _ in range(3000):
        pattern = "".join(random_.choices(parts, k=random_.randint(1, 5)))
        text = "".join(random_.choices(alphabet, k=12))
        found = re.search(pattern, text)
        if found:
            matches += 1
            assert all(word in found[0] for word in required_words(pattern)), pattern
    assert matches > 100


def test_smart_case() -> None:
    """As ripgrep: an upper-case letter in the expression makes it matter; one in an escape does not."""
    assert smart_case(r"link \S+\D \pL \p{Lu} (?P<Name>x) (?U)(?U-i:y) [[:^alpha:]]")
    assert not smart_case("Link")
    assert Query(grep="Link", ignore_case=True).ignores_case("Link")


_WRITER = """
import sys
from pathlib import Path
from netconsd.store.compactor import Compactor
from netconsd.store.journal import Journal
from netconsd.testing import extended_message

directory = Path(sys.argv[1])
journal = Journal(directory / "journal", 1, first_number=1, part_bytes=20000, part_seconds=1e9, most_bytes=1 << 40)
compactor = Compactor(directory)
compactor.recover()
number = 0
for turn in range(10000):
    messages = [extended_message(f"{n}", received_at=1e9 + n, seq=n) for n in range(number, number + 37)]
    journal.append(0, messages)
    number += 37
    print(number, flush=True)
    journal.sync()
    if turn % 3 == 0:
        compactor.compact()
        while compactor.merge():
            pass
"""


@pytest.mark.parametrize("newest_first", [False, True])
def test_another_process_writes_meanwhile(tmp_path: Path, newest_first: bool) -> None:
    """Each search finds all messages that were appended before it, each once, in order, while they are moved."""
    (tmp_path / layout.JOURNAL).mkdir()
    command = [sys.executable, "-c", _WRITER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as writer:
        assert writer.stdout is not None
        reader = Store(tmp_path)
        try:
            searches = 0
            while searches < 6 or not layout.segment_files(tmp_path):
                searches += 1
                written = int(writer.stdout.readline())
                found = [int(text) for text in texts(reader.messages(newest_first=newest_first))]
                if newest_first:
                    found.reverse()
                assert found == list(range(len(found)))
                assert len(found) >= written
        finally:
            writer.kill()


def test_files_of_a_compactor_that_was_killed(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part that is in a segment, and a segment that is in a merged one, count once while they are still there."""
    saved = {path: path.read_bytes() for path in (store / layout.JOURNAL).iterdir()}
    compactor = compact(store)
    for merged in (False, True):
        if merged:
            names = [file.name for file in layout.segment_files(store)]
            saved.update((path, path.read_bytes()) for path in (store / layout.SEGMENTS).rglob("*.*"))
            monkeypatch.setattr(compactor, "_to_merge", lambda names=names: names)
            compactor.merge()
        for path, data in saved.items():
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data)
        assert len(layout.segment_files(store)) == (5 if merged else 4)
        reader = Store(store)
        assert texts(reader.messages()) == ALL
        assert sum(host.messages for host in reader.hosts()) == len(ALL)


@pytest.mark.skipif(not captures.DIRECTORY.is_dir(), reason="the recordings are not part of a source distribution")
def test_recordings_of_kernels(tmp_path: Path) -> None:
    """Each message of the recordings is found with all fields, in segments and in the journal, also by its words."""
    recordings = sorted(captures.DIRECTORY.glob("*.jsonl"))[::6]
    expected = []
    for number, path in enumerate(recordings):
        messages = list(captures.messages(path))
        write(tmp_path, number + 1, messages)
        expected += messages
        if number == len(recordings) // 2:
            compact(tmp_path)
    reader = Store(tmp_path)
    found = [each.message for each in reader.messages()]
    times = [round(message.received_at * 1e6) for message in found]
    assert times == sorted(times)

    def shown(messages: list[Message]) -> list[tuple[object, ...]]:
        """Return everything, with the time to the microsecond."""
        return sorted(
            (round(message.received_at * 1e6), message.raw, message.text, message._state()[3:]) for message in messages
        )

    assert shown(found) == shown(expected)
    for word in ("Kernel panic - not syncing", "RIP: 0010", r"\[<?#1\]", "end trace", "Call Trace"):
        pattern = re.compile(word, re.IGNORECASE)
        wanted = [message for message in expected if pattern.search(message.text)]
        assert shown([each.message for each in reader.messages(grep=word, ignore_case=True)]) == shown(wanted), word
