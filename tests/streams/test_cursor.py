"""The cursor's files survive whatever ends the process."""

from __future__ import annotations

from pathlib import Path

from netconsd.streams.cursor import Cursor, Recent


def test_a_cursor_is_whole_or_the_one_before(tmp_path: Path) -> None:
    """A place that could not be written whole leaves the one before."""
    cursor = Cursor(tmp_path / "cursor")
    assert cursor.load() is None
    cursor.save({"at": 1}, sync=True)
    (tmp_path / "cursor.tmp").write_text('{"at":')
    assert cursor.load() == {"at": 1}
    cursor.save({"at": 2})
    assert cursor.load() == {"at": 2}


def test_a_damaged_cursor_is_none(tmp_path: Path) -> None:
    """A file that is no object is no place."""
    for text in ("", "[1]", "{", "\xff"):
        (tmp_path / "cursor").write_text(text)
        assert Cursor(tmp_path / "cursor").load() is None


def test_recent_identities_survive_a_restart(tmp_path: Path) -> None:
    """Saved identities are known after a restart; those that were only added are not."""
    recent = Recent(tmp_path / "recent")
    recent.add(["a", "b"])
    recent.save(["a"])
    assert "b" in recent
    again = Recent(tmp_path / "recent")
    assert ("a" in again, "b" in again) == (True, False)


def test_recent_identities_are_bounded(tmp_path: Path) -> None:
    """At least the limit is remembered, and at most twice the limit and a batch, in memory and on disk."""
    recent = Recent(tmp_path / "recent", limit=10)
    for number in range(0, 100, 5):
        names = [str(name) for name in range(number, number + 5)]
        recent.add(names)
        recent.save(names)
    for one in (recent, Recent(tmp_path / "recent", limit=10)):
        known = [number for number in range(100) if str(number) in one]
        assert set(range(90, 100)) <= set(known)
        assert len(known) <= 25
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= 25 * 8


def test_a_torn_identity_is_passed_over(tmp_path: Path) -> None:
    """The rest of a write that a crash of the machine cut is no identity."""
    Recent(tmp_path / "recent").save(["a"])
    with (tmp_path / "recent").open("ab") as file:
        file.write(b"xyz")
    assert "a" in Recent(tmp_path / "recent")
