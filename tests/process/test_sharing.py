"""The division of the partitions among processors, and who counts as one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from netconsd.process.sharing import GONE_SECONDS, MEMBERS_LIMIT, Members, shares

names = st.sets(st.text(min_size=1, max_size=8), min_size=1, max_size=20)


@given(names, st.integers(1, 128))
def test_each_partition_has_one_member(members: set[str], partitions: int) -> None:
    """Each partition is with one member, and no member has two more than another."""
    found = shares(members, partitions)
    assert sorted(number for mine in found.values() for number in mine) == list(range(partitions))
    assert set(found) == members
    sizes = [len(mine) for mine in found.values()]
    assert max(sizes) - min(sizes) <= 1


def test_few_partitions_move() -> None:
    """When one of four members goes, the partitions of the others mostly stay."""
    before = shares("abcd", 64)
    after = shares("abc", 64)
    assert sum(len(set(before[name]) - set(after[name])) for name in "abc") <= 16


def test_without_members() -> None:
    """Nobody has no partitions."""
    assert shares([], 16) == {}


def test_a_member_without_a_sign_is_gone() -> None:
    """A member is present until GONE_SECONDS after its last sign of life, or until it says that it ends."""
    members = Members("own")
    members.heard("b", 10.0)
    members.heard("c", 11.0)
    assert members.present(11.0) == ["b", "c", "own"]
    assert members.present(10.0 + GONE_SECONDS) == ["c", "own"]
    members.left("c")
    assert members.present(11.0) == ["own"]


def test_members_are_bounded() -> None:
    """A stranger that invents members cannot make the table grow, and those that are in it stay."""
    members = Members("own")
    for number in range(2 * MEMBERS_LIMIT):
        members.heard(str(number), 1.0)
    assert len(members.present(1.0)) == MEMBERS_LIMIT + 1
    members.heard("0", 4.0)
    assert members.present(4.6) == ["0", "own"]
