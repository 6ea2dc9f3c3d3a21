"""Traffic for property tests: any datagrams of a few senders, and one sender per format behind a faulty network."""

from __future__ import annotations

from random import Random

from hypothesis import strategies as st

from netconsd.send.fleet import FORMATS, Fleet, Template
from netconsd.testing import extended, fragments, source
from tests.support.faulty_network import Arrival, Faults, Proxy

KEYS = [source(f"192.0.2.{number}").key for number in range(4)]

# Datagrams that collide: few seqs and timestamps, near the ends of their ranges, whole, in fragments and damaged.
_near = st.integers(0, 40)
_numbers = st.one_of(
    _near, _near.map(lambda n: 2**64 - 1 - n), _near.map(lambda n: 5000 + n), st.integers(0, 2**64 - 1)
)
_records = st.builds(
    lambda seq, ts_usec, text, msgid: extended(text, seq=seq, ts_usec=ts_usec, msgid=msgid),
    _numbers,
    st.one_of(_near, st.integers(0, 2**64 - 1)),
    st.text(max_size=30),
    st.one_of(st.none(), st.integers(0, 2**32 - 1)),
)
_pieces = st.builds(
    lambda record, number: fragments(record, 120)[number % len(fragments(record, 120))],
    st.builds(lambda seq, text: extended(text, seq=seq), _near, st.text(min_size=20, max_size=60)),
    _near,
)
_broken = st.builds(
    lambda record, at, octets: record[: at % len(record)] + octets + record[at % len(record) + len(octets) :],
    st.one_of(_records, _pieces),
    st.integers(0, 200),
    st.binary(max_size=3),
)
_legacy_text = st.binary(max_size=60)
# Several records, with other lines between them, cut anywhere.
_lines = st.sampled_from(
    [b"", b"stray\n", b" a=b\n", b" SUBSYSTEM=usb\n", b" taskname=a\n6,9,1,-;x\n", b"[    1.000000] x\n"]
)
_several = st.lists(st.tuples(_records, _lines), min_size=1, max_size=4).map(
    lambda parts: b"".join(map(b"".join, parts))
)
_cut = st.builds(lambda text, start, end: text[start % len(text) :][: end or None], _several, _near, _near)
datagrams = st.one_of(_records, _pieces, _broken, _legacy_text, st.binary(max_size=200), _several, _cut)

# Seconds between two messages of a sender of Traffic.
STEP = 1 / 128
TEMPLATES = [Template(format) for format in FORMATS]


class Traffic:
    """Messages of one sender per format, and their datagrams as they arrive through a faulty network."""

    def __init__(self, faults: Faults, seed: int, messages: int) -> None:
        self.messages = messages
        #: Sender and message number of each datagram sent.
        self.sent: list[tuple[int, int]] = []
        #: The messages of each sender.
        self.fleets = [Fleet(template, 1, 0, sender) for sender, template in enumerate(TEMPLATES)]
        proxy = Proxy(faults, Random(seed), len(self.fleets))
        for nth in range(messages):
            for fleet in self.fleets:
                sender, pieces = fleet.message(nth)
                for piece in pieces:
                    proxy.send(nth * STEP, sender, piece)
                    self.sent.append((sender, nth))
        self.arrivals = list(proxy.arrivals())

    def of(self, sender: int) -> list[Arrival]:
        """The arrivals with a sender's address."""
        return [arrival for arrival in self.arrivals if arrival.sender == sender]
