"""A password, its hash, a token, and a clock for the tests of the console."""

from __future__ import annotations

from pathlib import Path

from netconsd.console.access import hash_password

PASSWORD = "correct horse"
#: Made once: a hash costs 60 ms.
LINE = hash_password(PASSWORD, bytes(16))
TOKEN = "0123456789abcdef0123"


class Clock:
    """Monotonic seconds that the test sets."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def put(path: Path, text: str, mode: int = 0o600) -> Path:
    """Write a file."""
    path.write_text(text)
    path.chmod(mode)
    return path
