"""The offsets that are committed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from netconsd.process.kafkaclient import Offsets


@given(st.permutations(range(8)))
def test_up_to_the_first_that_is_not_done(order: list[int]) -> None:
    """Whatever order deliveries are done in, the commit is the offset of the first that is not."""
    taken = [10, 11, 13, 20, 21, 22, 30, 40]
    offsets = Offsets()
    for offset in taken:
        assert offsets.take(offset) >= 0
    done: set[int] = set()
    committed = 10
    for place in order:
        offsets.done(taken[place])
        done.add(taken[place])
        found = offsets.commit()
        expected = next((offset for offset in taken if offset not in done), 41)
        if found is not None:
            assert found > committed
            committed = found
        last = max([offset for offset in taken if offset < expected], default=9)
        assert committed == last + 1
    assert offsets.commit() is None


def test_what_the_broker_has_deleted() -> None:
    """Offsets that were never delivered are counted; before a first commit, the first one may be any."""
    assert [Offsets().take(7), Offsets(7).take(7), Offsets(3).take(7)] == [0, 0, 4]
    offsets = Offsets(3)
    assert [offsets.take(offset) for offset in (3, 4, 6, 10)] == [0, 0, 1, 3]
