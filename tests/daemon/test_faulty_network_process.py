"""twistd as a process behind a faulty network: every datagram is delivered or counted."""

from __future__ import annotations

import re
import socket
from collections import Counter, defaultdict
from contextlib import ExitStack
from pathlib import Path

import pytest

from netconsd.send.fleet import FIRST_SEQ, FORMATS
from tests.kernel.daemon import Daemon, Recorded
from tests.support.faulty_network import Faults
from tests.support.traffic import TEMPLATES, Traffic

# Datagrams sent before the recorder is read again, so that no buffer fills.
AT_A_TIME = 32
LEGACY = list(FORMATS).index("legacy")


def through_a_daemon(traffic: Traffic, directory: Path) -> tuple[dict[int, list[Recorded]], dict[str, int]]:
    """Send the arrivals to a daemon in order, without pauses; return the messages of each sender and the daemon's
    totals by name. Checks that nothing else arrived and that every message was delivered."""
    with ExitStack() as stack:
        daemon = stack.enter_context(Daemon(directory))
        sockets = [stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in TEMPLATES]
        for number, sender in enumerate(sockets):
            sender.bind((f"127.0.2.{number + 1}", 0))
        for place, arrival in enumerate(traffic.arrivals):
            sockets[arrival.sender].sendto(arrival.datagram, ("127.0.0.1", daemon.port))
            if place % AT_A_TIME == 0:
                daemon.receive(0.01)
    log = daemon.log()
    assert "inconsistent" not in log and "Traceback" not in log
    in_all = re.search(r"Total: (\d+) datagrams? received, (\d+) messages?", log)
    assert in_all
    # Lines that were sent until the daemon answered; each is a message.
    probes = int(in_all[1]) - len(traffic.arrivals)
    assert 1 <= probes == int(in_all[2]) - len(daemon.messages)
    counted = Counter(
        {name: int(count) for count, name in re.findall(r"netconsd: (\d+) .*\((\w+)\)$", log, re.MULTILINE)}
    )
    assert counted["dropped_by_kernel"] == counted["dropped_queue_full"] == 0
    by_sender: dict[int, list[Recorded]] = defaultdict(list)
    for message in daemon.messages:
        by_sender[int(message.address.rpartition(".")[2]) - 1].append(message)
    return by_sender, counted


@pytest.mark.slow
def test_every_message_is_delivered_once(tmp_path: Path) -> None:
    """With loss, repeats and disorder, each message of which a datagram arrived is delivered once, each legacy line as
    often as it arrived, and the totals have the repeats."""
    traffic = Traffic(Faults(loss=0.1, repeat=0.1, reorder=0.1), 5, 32)
    by_sender, counted = through_a_daemon(traffic, tmp_path)
    repeats = 0
    for sender, template in enumerate(TEMPLATES):
        arrivals = traffic.of(sender)
        if sender == LEGACY:
            texts = [each.datagram.decode().partition("] ")[2].removesuffix("\n") for each in arrivals]
            assert Counter(message.text for message in by_sender[sender]) == Counter(texts)
            continue
        pieces = Counter(each.number for each in arrivals)
        repeats += sum(count - 1 for count in pieces.values())
        whole = Counter(traffic.sent[number] for number in pieces)
        expected = {nth + FIRST_SEQ: count < len(template) for (_, nth), count in whole.items()}
        assert {message.seq: message.incomplete for message in by_sender[sender]} == expected
        assert len(by_sender[sender]) == len(expected)
    assert counted["dropped_duplicate"] == repeats > 0


@pytest.mark.slow
def test_every_datagram_is_counted(tmp_path: Path) -> None:
    """Also with truncated datagrams, flipped bits and wrong addresses, every datagram is in the totals, and the log has
    no inconsistency."""
    traffic = Traffic(Faults(loss=0.1, repeat=0.1, reorder=0.1, cut=0.1, flip=0.1, stray=0.1), 6, 32)
    by_sender, counted = through_a_daemon(traffic, tmp_path)
    assert counted["dropped_empty"] == sum(not arrival.datagram for arrival in traffic.arrivals)
    assert set(by_sender) == set(range(len(TEMPLATES)))
