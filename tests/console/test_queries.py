"""The queries of the console: what each parameter chooses, pages without loss or doubles, and errors that help."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from netconsd.store import layout
from netconsd.testing import extended_message
from tests.console.stores import T0, add, small, write

pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'netconsd[store]'")
from netconsd.console import limits
from netconsd.console.failure import Refused
from netconsd.console.messages import Encoder
from netconsd.console.queries import Reader
from netconsd.console.replay import Cursor
from netconsd.console.worker import Answer
from netconsd.names import Names
from netconsd.store.compactor import Compactor
from tests.console.asking import Ask, Recorded, asker


@pytest.fixture
def ask(tmp_path: Path) -> Ask:
    """Ask the small store."""
    return asker(small(tmp_path / "store"))


def test_the_newest_messages_come_first(ask: Ask) -> None:
    """Without conditions, the newest messages come first, with their identity, boot and name."""
    found = ask("messages", limit=5)
    assert found.head["type"] == "application/jsonl"
    assert found.texts[:3] == ["old 2", "old 1", "old 0"]
    message = found.lines[3]["message"]
    assert message["text"] == "eth0: link 39"
    assert message["id"] == f"192.0.2.2/{message['boot_id']}/39"
    assert message["name"] == "web2"
    assert found.lines[-1]["end"] == {"found": 5, "complete": False, "cancelled": False, "damaged": []}


@pytest.mark.parametrize(
    ("parameters", "count"),
    [
        ({}, 43),
        ({"host": "192.0.2.1"}, 20),
        ({"host": ["192.0.2.1", "192.0.2.9"]}, 23),
        ({"host": "192.0.2.0/30"}, 40),
        ({"host": "host=web2"}, 20),
        ({"host": "web*"}, 40),
        ({"level": "err"}, 23),
        ({"level": "3"}, 23),
        ({"grep": "LINK 1$", "case": "ignore"}, 1),
        ({"grep": "LINK 1$"}, 0),
        ({"grep": "link", "exclude": "link [0-9]$"}, 30),
        ({"since": T0 + 9}, 7),
        ({"until": T0 + 0.5}, 4),
        ({"release": "6.12"}, 40),
        ({"caller": "T0"}, 14),
        ({"caller": "T*", "level": "emerg"}, 5),
        ({"seq": "7"}, 1),
        ({"boot": "0"}, 43),
        ({"host": ""}, 43),
    ],
)
def test_conditions(ask: Ask, parameters: dict[str, Any], count: int) -> None:
    """Each condition chooses what it says."""
    found = ask("messages", **parameters)
    assert len(found.texts) == count
    assert found.lines[-1]["end"]["complete"] is True


@pytest.mark.parametrize(
    ("query", "parameters", "field"),
    [
        ("messages", {"sinse": "1"}, "sinse"),
        ("messages", {"level": "loud"}, "level"),
        ("messages", {"grep": "("}, "grep"),
        ("messages", {"host": "192.0.2.0/99"}, "host"),
        ("messages", {"limit": "0"}, "limit"),
        ("messages", {"limit": "10001"}, "limit"),
        ("messages", {"limit": "1e3"}, "limit"),
        ("messages", {"order": "best"}, "order"),
        ("messages", {"since": "soon"}, "since"),
        ("messages", {"until": T0, "since": T0 + 1}, "until"),
        ("messages", {"boot": "17"}, "boot"),
        ("messages", {"before": "x"}, "before"),
        ("messages", {"before": "192.0.2.1/1/1", "after": "192.0.2.1/1/1"}, "after"),
        ("messages", {"seq": "-1"}, "seq"),
        ("messages", {"level": ["err", "warn"]}, "level"),
        ("counts", {"step": "0"}, "step"),
        ("crash_list", {"state": "bad"}, "state"),
        ("patterns", {"new_in": "next"}, "new_in"),
        ("download", {"format": "pdf"}, "format"),
    ],
)
def test_a_wrong_parameter_is_named(ask: Ask, query: str, parameters: dict[str, Any], field: str) -> None:
    """A wrong parameter is refused with 400, before the answer begins, and is named."""
    with pytest.raises(Refused) as error:
        ask(query, **parameters)
    assert (error.value.status, error.value.field) == (400, field)
    assert error.value.text.startswith(f"{field}:")


@pytest.mark.parametrize("order", ["newest", "oldest"])
@pytest.mark.parametrize("size", [3, 7])
def test_pages_lose_and_repeat_nothing(ask: Ask, order: str, size: int) -> None:
    """Page after page has every message once, although many have the same time."""
    every = [line["message"]["id"] for line in ask("messages", order=order).lines if "message" in line]
    seen: list[str] = []
    parameters: dict[str, Any] = {"order": order, "limit": size}
    while True:
        lines = ask("messages", **parameters).lines
        seen += [line["message"]["id"] for line in lines if "message" in line]
        if lines[-1]["end"]["complete"]:
            break
        parameters["before" if order == "newest" else "after"] = seen[-1]
    assert seen == every


def test_the_other_direction(ask: Ask) -> None:
    """Newest first after a message, and oldest first before one, end at it."""
    every = [line["message"]["id"] for line in ask("messages").lines if "message" in line]
    middle = every[20]
    after = [line["message"]["id"] for line in ask("messages", after=middle).lines if "message" in line]
    assert after == every[:20]
    before = [
        line["message"]["id"] for line in ask("messages", before=middle, order="oldest").lines if "message" in line
    ]
    assert before == every[:20:-1]


def test_a_message_and_its_context(ask: Ask) -> None:
    """A message is found by its identity; its context is of its machine, or of all."""
    identity = next(
        line["message"]["id"] for line in ask("messages").lines if line["message"]["text"] == "eth0: link 20"
    )
    assert ask("message", id=identity).object["seq"] == 20
    near = ask("context", id=identity, before=2, after=3).object
    assert [message["seq"] for message in near["messages"]] == [16, 18, 20, 22, 24, 26]
    assert near["at"] == 2
    every = ask("context", id=identity, before=1, after=1, all_hosts=1).object
    assert len(every["messages"]) == 3
    assert {message["address"] for message in every["messages"]} == {"192.0.2.1", "192.0.2.2"}


@pytest.mark.parametrize(
    ("identity", "status"), [("192.0.2.1/5/5", 404), ("x", 400), ("192.0.2.999/1/1", 404), ("192.0.2.1/@0/0", 404)]
)
def test_no_message(ask: Ask, identity: str, status: int) -> None:
    """An identity that is none, or of no message, is refused."""
    with pytest.raises(Refused) as error:
        ask("message", id=identity)
    assert error.value.status == status


def test_counts(ask: Ask) -> None:
    """The messages of each bucket by level: the same from the indexes, and from a search."""
    found = ask("counts", step=60).object
    assert sum(sum(bucket[1:]) for bucket in found["buckets"]) == 43
    # 3 legacy messages have a level as well.
    assert [sum(column) for column in zip(*found["buckets"], strict=True)][1:] == [5, 5, 5, 8, 5, 5, 5, 5, 0]
    errors = ask("counts", step=60, level="err").object["buckets"]
    searched = ask("counts", step=60, level="err", host="*").object["buckets"]
    assert errors == searched
    assert ask("counts", step=1, until=T0 + 3).object["buckets"][1][0] == T0 + 1


def test_too_many_buckets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that makes more buckets than a chart has is refused."""
    monkeypatch.setattr("netconsd.console.queries.BUCKETS", 3)
    ask = asker(small(tmp_path / "store"))
    with pytest.raises(Refused) as error:
        ask("counts", step=1)
    assert error.value.field == "step"


def test_hosts(ask: Ask) -> None:
    """Machines with their names, crashes, and since when they are silent; `silent` leaves out the others."""
    found = {host["address"]: host for host in ask("hosts").object["hosts"]}
    assert [host["name"] for host in found.values()] == ["web1", "web2", None]
    assert found["192.0.2.1"]["crashes"] == 2
    assert found["192.0.2.9"]["silent_for"] == pytest.approx(80)
    assert [host["address"] for host in ask("hosts", silent=85).object["hosts"]] == ["192.0.2.1", "192.0.2.2"]


def test_a_machine_has_its_boots(tmp_path: Path) -> None:
    """The boots of a machine are those of its segments and of the journal together."""
    directory = tmp_path / "store"

    def boot(at: float, count: int, seq: int = 0) -> list[Any]:
        return [
            extended_message(
                f"m {number}",
                received_at=at + number,
                seq=seq + number,
                ts_usec=number * 1_000_000,
                boot=not number and not seq,
                release="6.1" if at == T0 else "6.2",
                lost=2 * (number == 1),
            )
            for number in range(count)
        ]

    write(directory, [*boot(T0, 5), *boot(T0 + 1000, 4)])
    (directory / layout.SEGMENTS).mkdir()
    compactor = Compactor(directory)
    compactor.recover()
    compactor.compact()
    write(directory, boot(T0 + 2000, 3), number=2)
    add(directory)
    found = asker(directory, now=T0 + 3000)("host", address="192.0.2.1").object
    assert [(boot["first"], boot["messages"], boot["lost"], boot["release"]) for boot in found["boots"]] == [
        (T0, 5, 2, "6.1"),
        (T0 + 1000, 4, 2, "6.2"),
        (T0 + 2000, 3, 2, "6.2"),
    ]
    assert found["messages"] == 12


@pytest.mark.parametrize(("address", "status"), [("192.0.2.77", 404), ("web1", 400), ("192.0.2.0/24", 400)])
def test_no_machine(ask: Ask, address: str, status: int) -> None:
    """A machine that is not stored, and what is no address, are refused."""
    with pytest.raises(Refused) as error:
        ask("host", address=address)
    assert error.value.status == status


def test_downloads(ask: Ask) -> None:
    """A download is a file of all messages, the oldest first, in the format that was chosen."""
    dmesg = ask("download", host="192.0.2.1", until=T0)
    assert dmesg.data == b"[    1.000000] [    T0] eth0: link 0\n[    1.000002] [    T2] eth0: link 2\n"
    assert "attachment" in dmesg.head["headers"]["Content-Disposition"]
    assert len(ask("download", format="jsonl").lines) == 43
    assert ask("download", format="text", seq=3).data.endswith(b"192.0.2.2 err eth0: link 3\n")


def test_hostile_text_is_one_line_of_a_download(tmp_path: Path) -> None:
    """Control and bidi characters are escapes in a file for people, so that a text is its own line."""
    write(tmp_path / "store", [extended_message("a\x1b[2J\u202eb\rc", received_at=T0)])
    for form in ("dmesg", "text"):
        data = asker(tmp_path / "store")("download", format=form).data
        assert data.count(b"\n") == 1
        assert not {0x1B, 0x0D}.intersection(data)
        assert "\u202e" not in data.decode()


def test_no_store(tmp_path: Path) -> None:
    """Without a store, queries say so; the status has none."""
    ask = asker(tmp_path / "none")
    assert ask("status").object == {"store": None}
    with pytest.raises(Refused) as error:
        ask("messages")
    assert error.value.status == 503
    assert str(tmp_path / "none") in error.value.text


def test_a_cancelled_search_says_so(tmp_path: Path) -> None:
    """A search that was cancelled is not complete."""
    ask = asker(small(tmp_path / "store"), cancelled=lambda: True)
    end = ask("messages", grep="nothing").lines[-1]["end"]
    assert (end["cancelled"], end["complete"]) == (True, False)


def test_damage_is_named(tmp_path: Path) -> None:
    """Messages that cannot be read are counted in the end of a search."""
    directory = small(tmp_path / "store")
    (part,) = (directory / layout.JOURNAL).iterdir()
    data = bytearray(part.read_bytes())
    data[len(data) // 2] ^= 1
    part.write_bytes(data + data[-1:])
    (fault,) = asker(directory)("messages").lines[-1]["end"]["damaged"]
    assert part.name in fault["text"]


def test_events(ask: Ask) -> None:
    """Events of machines, with their release."""
    (event,) = ask("events").object["events"]
    assert (event["kind"], event["release"]) == ("rebooted", "6.12.1")
    assert ask("events", kind="lost").object["events"] == []
    assert ask("events", host="192.0.2.9").object["events"] == []


def test_patterns(ask: Ask) -> None:
    """Patterns with their machines; conditions leave out the others."""
    found = ask("patterns").object["patterns"]
    assert [(row["form"], row["count"], row["machines"]) for row in found] == [
        ("<DEV>: link <N>", 40, 2),
        ("old <N>", 3, 1),
    ]
    assert [row["form"] for row in ask("patterns", host="192.0.2.9").object["patterns"]] == ["old <N>"]
    assert [row["form"] for row in ask("patterns", new_in="6.12").object["patterns"]] == ["<DEV>: link <N>"]
    assert ask("patterns", new_in="7").object["patterns"] == []


def test_a_rising_pattern(tmp_path: Path) -> None:
    """A pattern that is more frequent than before rises; a steady one does not."""
    directory = tmp_path / "store"
    (directory / layout.SEGMENTS).mkdir(parents=True)
    day = 86400.0
    for number, begin in enumerate((T0, T0 + 10 * day)):
        texts = ["steady thing"] * (10 if number else 100) + (["rising thing"] * 100 if number else [])
        step = (10 * day if not number else day) / len(texts)
        write(
            directory,
            [extended_message(text, received_at=begin + 1 + at * step, seq=at) for at, text in enumerate(texts)],
            number=number + 1,
        )
        compactor = Compactor(directory)
        compactor.recover()
        compactor.compact()
    ask = asker(directory, now=T0 + 11 * day + 2)
    (rising,) = ask("patterns", rising=1, since=T0 + 10 * day).object["patterns"]
    assert rising["form"] == "rising thing"


def replayed(found: Recorded) -> list[str]:
    """Return the texts of the frames of a replay."""
    lines = [line.removeprefix(b"data: ") for line in found.data.split(b"\n") if line.startswith(b'data: {"version')]
    return [json.loads(line)["text"] for line in lines]


def cursors(found: Recorded) -> list[str]:
    """Return the ids of the frames of a replay."""
    return [line.removeprefix(b"id: ").decode() for line in found.data.split(b"\n") if line.startswith(b"id: ")]


def test_a_replay_continues_at_any_message(ask: Ask) -> None:
    """From each message on, a replay has exactly the later ones in the order of the tail, although many have the same
    time."""
    every = ask("replay", stream="aa-1", last=limits.REPLAY_MESSAGES)
    ids, texts = cursors(every), replayed(every)
    assert len(texts) == 43
    for at, cursor in enumerate(ids):
        assert replayed(ask("replay", stream="aa-1", cursor=cursor)) == texts[at + 1 :]


def test_a_replay_has_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A replay has the newest messages, and the number of the others."""
    monkeypatch.setattr("netconsd.console.queries.REPLAY_MESSAGES", 5)
    ask = asker(small(tmp_path / "store"))
    found = ask("replay", stream="aa-1", cursor=str(Cursor("bb-1", 1, round((T0 - 1) * 1e6), "192.0.2.1/1/1")))
    assert found.data.startswith(b'event: dropped\ndata: {"count": 38}\n\n')
    assert len(replayed(found)) == 5
    assert len(found.notes[0]["ids"]) == 5


def test_a_replay_knows_what_the_ring_brings_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A viewer who comes back at once is ahead of the ring: the messages until its place are named, up to a bound, with
    those of the replay; after a while, only those of the replay."""
    directory = tmp_path / "store"
    write(directory, [extended_message(f"m {at}", received_at=T0 + at / 100, seq=at) for at in range(20)])
    every = cursors(asker(directory, now=T0)("replay", stream="aa-1", last=20))
    identities = [cursor.rpartition("~")[2] for cursor in every]
    found = asker(directory, now=T0 + 1)("replay", stream="aa-1", cursor=every[9])
    assert replayed(found) == [f"m {at}" for at in range(10, 20)]
    assert sorted(found.notes[0]["ids"]) == sorted(identities)
    later = asker(directory, now=T0 + limits.SEAM_SECONDS + 1)("replay", stream="aa-1", cursor=every[9])
    assert later.notes[0]["ids"] == identities[9:]
    monkeypatch.setattr("netconsd.console.queries.SEAM_MESSAGES", 3)
    found = asker(directory, now=T0 + 1)("replay", stream="aa-1", cursor=every[9])
    assert found.notes[0]["ids"] == [*reversed(identities[7:9]), *identities[9:]]


def test_a_replay_counts_for_a_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The messages beyond the bound are counted for a second at most, as the viewer waits for that; then the number is
    a least one."""
    monkeypatch.setattr("netconsd.console.queries.REPLAY_MESSAGES", 5)
    monkeypatch.setattr("netconsd.store.query.BATCH_ROWS", 4)
    now = iter(T0 + 100 + 0.4 * number for number in range(1000))
    reader = Reader(small(tmp_path / "store"), Encoder(Names()), lambda: next(now))
    recorded = Recorded()
    output: Any = recorded
    cursor = str(Cursor("bb-1", 1, round((T0 - 1) * 1e6), "192.0.2.1/1/1"))
    request = {"query": "replay", "parameters": {"stream": ["aa-1"], "cursor": [cursor]}}
    reader.answer(request, Answer(output, lambda: False))
    dropped = json.loads(recorded.data.split(b"\n")[1].removeprefix(b"data: "))
    assert dropped["at_least"]
    assert 0 < dropped["count"] < 38
    assert replayed(recorded)[-3:] == ["old 0", "old 1", "old 2"]


def test_a_place_in_the_future(ask: Ask) -> None:
    """A place that is later than the clock, as after it was set back, says that messages may be missing."""
    found = ask("replay", stream="aa-1", cursor=str(Cursor("bb-1", 1, round((T0 + 10_000) * 1e6), "192.0.2.1/1/1")))
    dropped = json.loads(found.data.split(b"\n")[1].removeprefix(b"data: "))
    assert dropped["count"] is None
    assert "set back" in dropped["why"]


def test_machines_by_the_names_of_the_daemon(tmp_path: Path) -> None:
    """Machines are shown and chosen by the names of the daemon's hosts file; a name in userdata is a host name or
    none."""
    directory = tmp_path / "store"
    write(
        directory,
        [
            extended_message("one", address="192.0.2.7", received_at=T0, seq=1),
            extended_message("two", address="192.0.2.8", received_at=T0 + 1, seq=1, userdata={"host": "web08"}),
            extended_message("three", address="192.0.2.9", received_at=T0 + 2, seq=1, userdata={"host": "a\u202eb"}),
        ],
    )
    names = Names("host")
    names.put({"192.0.2.7": "db01", "192.0.2.8": "db02"})
    ask = asker(directory, names=names)
    hosts = {host["address"]: host["name"] for host in ask("hosts").object["hosts"]}
    assert hosts == {"192.0.2.7": "db01", "192.0.2.8": "web08@db02", "192.0.2.9": None}
    assert ask("messages", host="db*").texts == ["two", "one"]
    assert ask("messages", host="web08@192.0.2.8").texts == ["two"]
    names.put({"192.0.2.7": None})
    assert ask("messages", host="db01").texts == []


def test_names_by_another_key(tmp_path: Path) -> None:
    """With another --host-key, machines are chosen by its values."""
    directory = tmp_path / "store"
    write(directory, [extended_message("one", received_at=T0, seq=1, userdata={"node": "web08"})])
    ask = asker(directory, names=Names("node"))
    (host,) = ask("hosts").object["hosts"]
    assert host["name"] == "web08"
    assert ask("messages", host="web08").texts == ["one"]


def test_the_last_messages(ask: Ask) -> None:
    """`last` gives the newest ones, and the time before which nothing is wanted."""
    found = ask("replay", stream="aa-1", last=2)
    assert replayed(found) == ["old 1", "old 2"]
    assert found.notes[0]["begin"] == round((T0 + 20) * 1e6)


def test_the_reason_is_behind_a_long_expression(ask: Ask) -> None:
    """The error of a long regular expression has its reason."""
    with pytest.raises(Refused, match=r"is not a regular expression of RE2: missing \)") as error:
        ask("messages", grep="(" * 2000)
    assert len(error.value.text) < 400


@pytest.mark.parametrize("query", ["messages", "counts", "download", "hosts", "crash_list", "patterns"])
def test_a_store_that_is_gone(tmp_path: Path, query: str) -> None:
    """A store that was deleted is an error that says so, not an answer without messages or crashes."""
    directory = small(tmp_path / "store")
    ask = asker(directory)
    ask(query)
    shutil.rmtree(directory)
    with pytest.raises(Refused, match="there is no store in") as error:
        ask(query)
    assert error.value.status == 503


def test_a_file_that_the_compactor_removes(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """A query whose files the compactor removes begins again, and is not told that there is no store."""
    gone = iter([True, True, False, *[True] * 9])
    boots = Reader._boots

    def removed(self: Reader, *arguments: Any) -> Any:
        if next(gone):
            raise FileNotFoundError(2, "No such file or directory", "segment")
        return boots(self, *arguments)

    monkeypatch.setattr(Reader, "_boots", removed)
    assert len(ask("host", address="192.0.2.1").object["boots"]) == 1
    with pytest.raises(Refused, match="segment: was removed meanwhile: try again"):
        ask("host", address="192.0.2.1")


def test_a_store_that_is_made_again(tmp_path: Path) -> None:
    """The messages of a store that was deleted and made again are found, although its files have the same names."""
    directory = tmp_path / "store"
    ask = asker(directory)
    for text, at in (("old", T0), ("new", T0 + 50.0)):
        shutil.rmtree(directory, ignore_errors=True)
        (directory / layout.SEGMENTS).mkdir(parents=True)
        write(directory, [extended_message(f"{text} {number}", received_at=at, seq=number) for number in range(3)])
        compactor = Compactor(directory)
        compactor.recover()
        compactor.compact()
        assert ask("messages").texts == [f"{text} {number}" for number in (2, 1, 0)]
        assert ask("messages", since=at).texts == [f"{text} {number}" for number in (2, 1, 0)]
