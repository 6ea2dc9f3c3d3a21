"""Finds the segments that cannot contain a word, without reading their text. Hot: once for each byte of stored text.

Rules:

1. A byte of text in UTF-8 has one of 64 classes: the letters without case, the digits, 27 signs, and 0 for every other
   byte, so that upper and lower case, also of letters that are not ASCII, are found alike.
2. Three bytes in a row of one text are a trigram: a number of 18 bits, six for each class. A bitmap has a bit for each
   trigram.
3. A text can contain a word only if the bitmap has all trigrams of the word. The opposite does not follow.
4. A word of fewer than three bytes has no trigram: nothing is known about it.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from itertools import product
from typing import Final

from netconsd.protocol import octets
from netconsd.store import packing

#: The bytes of a bitmap.
BITMAP_BYTES: Final = 1 << 15
_SIGNS: Final = b" .,:;-_/()[]=<>+*%#@'\"!?&|$"


def _classes() -> bytes:
    classes = bytearray(256)
    for number, octet in enumerate(b"abcdefghijklmnopqrstuvwxyz0123456789" + _SIGNS, 1):
        classes[octet] = number
        classes[ord(chr(octet).upper())] = number
    return bytes(classes)


#: From a byte to its class.
CLASSES: Final = _classes()
_CLASSES = CLASSES


def add(bitmap: bytearray, text: bytes, ends: array[int]) -> None:
    """Set the bits of texts.

    :param bitmap: of :data:`BITMAP_BYTES` bytes.
    :param text: the texts, one after the other.
    :param ends: an ``array("Q")``: the begin of the first text, then the end of each. They are within the text.
    """
    count = len(ends)
    at = octets.stamp_at(ends, 0)
    index = 1
    while index < count:
        end = octets.stamp_at(ends, index)
        packing.put_trigrams(bitmap, text, at, end, _CLASSES)
        at = end
        index += 1


def trigrams(word: str) -> list[int]:
    """Return the different trigrams of a word; none for fewer than three bytes. Any thread."""
    classes = word.encode("utf-8", "surrogateescape").translate(CLASSES)
    return sorted({a << 12 | b << 6 | c for a, b, c in zip(classes, classes[1:], classes[2:], strict=False)})


def has_all(bitmap: bytes | memoryview, wanted: list[int]) -> bool:
    """Return whether a bitmap has all of the trigrams. Any thread."""
    return all(bitmap[trigram >> 3] >> (trigram & 7) & 1 for trigram in wanted)


def windows(word: str, *, folded: bool) -> list[list[list[int]]]:
    """Return what a text that contains a word has: of each item, all trigrams of one of its lists. Any thread.

    :param folded: a letter stands for its other case as well. Of the ASCII letters only k and s have one that is not
        ASCII: the Kelvin sign and the long s (Unicode's CaseFolding.txt), which RE2 knows.
    """
    found = []
    for place in range(len(word) - 2):
        spelled = product(*(_SPELLED.get(letter, letter) if folded else letter for letter in word[place : place + 3]))
        options = [trigrams("".join(option)) for option in spelled]
        if options not in found:
            found.append(options)
    return found


_SPELLED: Final = {"k": "k\u212a", "K": "k\u212a", "s": "s\u017f", "S": "s\u017f"}


def can_have(bitmap: bytes | memoryview, wanted: Sequence[Sequence[list[int]]]) -> bool:
    """Return whether a bitmap has what :func:`windows` returned. Any thread."""
    return all(any(has_all(bitmap, option) for option in options) for options in wanted)
