"""Rotated files: the settings of rotation, the names ``NAME.1``, ``NAME.2`` and so on, and the periods of time.

``NAME.1`` is the newest. A compressed one has a suffix, ``NAME.1.zst`` or ``NAME.1.gz``. The numbers have no gaps, so a
rotation renames files up to the first free number only.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Literal

from netconsd.units import Duration, Size

#: ``rotate_bytes`` of files that are not rotated by size.
NEVER: Final = Size(0)
Compress = Literal["no", "gzip", "zstd"]

#: The number of rotated files of one name. A rotation renames all of them, in about 2 us each, while the worker waits.
KEEP_LIMIT: Final = 1000
#: Rotated files of one name without ``rotate_keep`` and without bounds of age and total size.
KEEP_DEFAULT: Final = 5
#: The suffixes that compression adds, by the setting.
SUFFIXES: Final = {"gzip": ".gz", "zstd": ".zst"}
#: Every suffix of a rotated file; the setting may have changed since a file was compressed.
ENDINGS: Final = ("", *SUFFIXES.values())
HOUR: Final = 3600.0
#: Bounds of ``rotate_every``. Workers that share a file may be behind one another by a full queue, some minutes at
#: most, so that a line of the previous hour is no sign of a clock that was set back.
EVERY_LEAST, EVERY_MOST = HOUR, 366 * 24 * HOUR
# 1970-01-05 was the first Monday: a week begins on Monday, a day at midnight, an hour with the hour, all in UTC.
_MONDAY: Final = 4 * 24 * HOUR


@dataclass(frozen=True)
class Rotation:
    """The checked settings of rotation, which the logger and jsonl share."""

    bytes: int = 0
    """The size at which a file is renamed; 0 for never."""
    every: float | None = None
    """Seconds of a period; a file has lines of one period only."""
    keep: int = KEEP_DEFAULT
    """Rotated files of one name."""
    compress: Compress = "no"
    keep_age: float | None = None
    """Seconds after its last line at which a file is deleted."""
    keep_size: int | None = None
    """Bytes of all files; beyond, the files written least recently are deleted."""

    @property
    def has_upkeep(self) -> bool:
        """True if files have to be compressed or deleted."""
        return self.compress != "no" or self.keep_age is not None or self.keep_size is not None

    def period(self, now: float) -> tuple[float, float]:
        """Return the begin and the end of the period of a time; without ``every``, all of time."""
        if self.every is None:
            return -math.inf, math.inf
        begin = (now - _MONDAY) // self.every * self.every + _MONDAY
        return begin, begin + self.every


def checked_rotation(
    rotate_bytes: int,
    rotate_every: Duration | None,
    rotate_keep: int | None,
    compress: Compress,
    keep_age: Duration | None,
    keep_size: int | None,
) -> Rotation:
    """Return the settings of a rotation.

    :raises ValueError: if one is out of range or needs another one, with a text that begins with its name.
    """
    if rotate_bytes < 0:
        raise ValueError(f"rotate_bytes: {rotate_bytes} is less than 0")
    if rotate_every is not None and not EVERY_LEAST <= rotate_every <= EVERY_MOST:
        raise ValueError(f"rotate_every: {rotate_every} is not from 1h to 366d")
    if rotate_keep is not None and rotate_keep < 1:
        raise ValueError(f"rotate_keep: {rotate_keep} is less than 1")
    if rotate_keep is not None and rotate_keep > KEEP_LIMIT:
        raise ValueError(f"rotate_keep: {rotate_keep} is more than {KEEP_LIMIT}")
    rotates = rotate_bytes > 0 or rotate_every is not None
    if compress != "no" and not rotates:
        raise ValueError(
            f'compress: "{compress}" needs rotate_bytes or rotate_every: only rotated files are compressed'
        )
    if keep_age is not None and keep_age < HOUR:
        raise ValueError(f"keep_age: {keep_age} is less than 1h")
    if keep_age is not None and not rotates:
        raise ValueError("keep_age: needs rotate_bytes or rotate_every: a file that is still written is never too old")
    if keep_size is not None and rotate_bytes == 0:
        raise ValueError("keep_size: needs rotate_bytes: the file that is written is not deleted, and would not end")
    if keep_size is not None and keep_size < rotate_bytes:
        raise ValueError(f"keep_size: {Size(keep_size)} is less than rotate_bytes, {Size(rotate_bytes)}")
    if rotate_keep is None:
        # Another bound must not be undone by a number that the user did not choose.
        rotate_keep = KEEP_DEFAULT if keep_age is None and keep_size is None else KEEP_LIMIT
    return Rotation(rotate_bytes, rotate_every, rotate_keep, compress, keep_age, keep_size)


def shift(path: str, keep: int) -> None:
    """Rename a file to ``NAME.1``, after each rotated file to the next number; the one of ``keep`` is overwritten.

    :raises OSError: if a file cannot be renamed; then no file was overwritten that is not the oldest.
    """
    free = next((number for number in range(1, keep) if not any(_numbered(path, number))), keep)
    for number in range(free, 0, -1):
        targets = list(_numbered(path, number)) if number == keep else []
        sources = [path] if number == 1 else list(_numbered(path, number - 1))
        for source in sources:
            # An administrator may have moved the file itself.
            with suppress(FileNotFoundError):
                target = f"{path}.{number}{'' if number == 1 else source[len(path) + len(str(number - 1)) + 1 :]}"
                os.replace(source, target)
                targets = [other for other in targets if other != target]
        # The oldest may have another suffix than the file that takes its place.
        for target in targets:
            os.unlink(target)


def numbers(path: str, keep: int) -> Iterator[int]:
    """Yield the numbers of a file's rotated files, from the newest on, up to the first free number."""
    for number in range(1, keep + 1):
        if not any(_numbered(path, number)):
            return
        yield number


def split(name: str) -> tuple[str, int, str]:
    """Return (name, number, suffix) of a file; the number is 0 and the suffix empty if it is not a rotated file."""
    suffix = next((ending for ending in ENDINGS[1:] if name.endswith(ending)), "")
    base, dot, digits = name.removesuffix(suffix).rpartition(".")
    if dot and base and digits.isascii() and digits.isdigit() and digits[0] != "0" and 0 < int(digits) <= KEEP_LIMIT:
        return base, int(digits), suffix
    return name, 0, ""


def _numbered(path: str, number: int) -> Iterator[str]:
    """Yield the existing files of a number; more than one only if a compression was interrupted."""
    for ending in ENDINGS:
        name = f"{path}.{number}{ending}"
        if os.path.lexists(name):
            yield name
