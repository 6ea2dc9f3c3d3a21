"""The order of the senders: it agrees with an OrderedDict."""

from __future__ import annotations

from collections import OrderedDict

from hypothesis import given
from hypothesis import strategies as st

from netconsd.protocol.counters import WorkerCounters
from netconsd.protocol.recency import Recency
from netconsd.protocol.stream import Stream
from netconsd.testing import source
from tests.support.memory import bytes_for


def new_stream() -> Stream:
    """A stream, whatever its sender."""
    return Stream(source("192.0.2.1"), WorkerCounters(), 0.2)


def newest_first(recency: Recency) -> list[Stream | None]:
    """All streams, found by their links."""
    streams = []
    number = recency.older(0)
    while number:
        streams.append(recency.stream(number))
        number = recency.older(number)
    return streams


@given(st.lists(st.tuples(st.sampled_from(["add", "add", "touch", "remove", "remove oldest"]), st.integers(0, 99))))
def test_the_order_is_that_of_an_ordered_dict(steps: list[tuple[str, int]]) -> None:
    """After any additions, moves and removals, streams and numbers are those of an OrderedDict in the same order."""
    recency = Recency()
    table: OrderedDict[int, Stream] = OrderedDict()
    for step, choice in steps:
        numbers = list(table)
        if step == "add":
            stream = new_stream()
            number = recency.add(stream)
            assert number not in table and number > 0
            table[number] = stream
        elif numbers:
            number = numbers[0] if step == "remove oldest" else numbers[choice % len(numbers)]
            if step == "touch":
                recency.touch(number)
                table.move_to_end(number)
            else:
                recency.remove(number)
                del table[number]
                assert recency.stream(number) is None
        assert newest_first(recency) == list(reversed(table.values()))
        assert recency.oldest() is next(iter(table.values()), None)
        assert [recency.stream(number) for number in table] == list(table.values())


def test_numbers_are_used_again() -> None:
    """Senders that come and go take no more memory than those that are there at once."""

    def after(turns: int) -> Recency:
        recency = Recency()
        for _ in range(turns):
            for number in [recency.add(stream) for stream in [new_stream()] * 100]:
                recency.remove(number)
        return recency

    # Numbers that are not used again would take 80,000 bytes.
    assert bytes_for(lambda: after(50)) < bytes_for(lambda: after(1)) + 1000
