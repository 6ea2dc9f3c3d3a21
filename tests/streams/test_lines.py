"""Lines of JSON for brokers, and the groups of a partition."""

from __future__ import annotations

import json

import pytest

from netconsd.jsonl import from_json
from netconsd.store.findings import event_of, report_of
from netconsd.streams.lines import REPORT_BYTES, groups, line, partition_of
from netconsd.streams.record import Record
from netconsd.streams.sink import Encoded
from netconsd.testing import crash_report, event, extended_message


def test_a_message() -> None:
    """A message is read again with all its bytes; the identity, the boot and the name stand beside it."""
    message = extended_message("\x1b é", seq=3, dictionary={"SUBSYSTEM": "net"}, userdata={"rack": "r7"})
    data = line(Record(message, "192.0.2.1/7/3", 7, 'web "01"'))
    assert from_json(data) == message
    fields = json.loads(data)
    assert (fields["id"], fields["boot_id"], fields["name"]) == ("192.0.2.1/7/3", 7, 'web "01"')


def test_findings() -> None:
    """A report has its messages, and an event its own; they have no boot."""
    report = crash_report(messages=(extended_message("line"),))
    data = line(Record(report, "i"))
    assert report_of(data) == report
    assert json.loads(data)["boot_id"] is None
    assert event_of(line(Record(event(how="crash"), "i"))).details == {"how": "crash"}


def test_a_large_report() -> None:
    """A report that a broker would refuse has no messages; it is a report nevertheless."""
    lines = tuple(extended_message("x" * 5000, seq=seq) for seq in range(200))
    data = line(Record(crash_report(messages=lines), "i"))
    assert len(data) < REPORT_BYTES
    assert report_of(data).title == crash_report().title


@pytest.mark.parametrize(("address", "partition"), [("192.0.2.1", 7), ("2001:db8::7", 11), ("", 0)])
def test_partitions(address: str, partition: int) -> None:
    """The partition of a machine never changes: processors would get its records from two."""
    assert partition_of(address, 16) == partition


def test_groups() -> None:
    """A machine's records are in one partition, in order; a group has its most bytes, and a long record is alone."""
    batch = [
        Encoded(Record(extended_message("x", seq=seq, address=f"192.0.2.{seq % 3}"), f"{seq}"), b"%d" % seq)
        for seq in range(30)
    ]
    batch[3] = Encoded(batch[3].record, b"y" * 100)
    found = groups(batch, 4, 10)
    assert all(len(group.data) <= 10 for group in found if group.places != [3])
    assert sorted(place for group in found for place in group.places) == list(range(30))
    for host in range(3):
        of_host = [group for group in found if group.places[0] % 3 == host or host in {p % 3 for p in group.places}]
        assert len({group.partition for group in of_host}) == 1
        places = [place for group in of_host for place in group.places if place % 3 == host]
        assert places == list(range(host, 30, 3))
    assert b"".join([batch[place].data + b"\n" for place in found[0].places]) == found[0].data


def test_the_key_of_a_group() -> None:
    """The key is the same for the same records only."""
    batch = [Encoded(Record(extended_message("x", seq=seq), f"{seq}"), b"x") for seq in range(3)]
    whole, again, less = (groups(some, 1, 100)[0].key(some) for some in (batch, batch, batch[:2]))
    assert whole == again != less
