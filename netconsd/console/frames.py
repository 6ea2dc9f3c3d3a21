"""The frames between the console and its processes, over a socket: length, kind, data.

A frame is four bytes of length (of what follows, big-endian), a byte of kind, and data. The kinds are below; all but
``DATA`` have a JSON object. ``SHOWN`` has the ``addresses`` whose names were wanted, ``FAULT`` the ``text`` of a
defect.
"""

from __future__ import annotations

import json
import select
import socket
import struct
import time
import traceback
from collections.abc import Callable
from typing import Any, Final

from netconsd.console.limits import PIECE_BYTES
from netconsd.rendering import printable

HEAD: Final = b"h"
DATA: Final = b"d"
END: Final = b"e"
NOTE: Final = b"n"
SHOWN: Final = b"s"
FAULT: Final = b"x"
#: The greatest frame: a piece, and an object that was written at once.
FRAME_BYTES: Final = 16 << 20
#: Seconds for which data waits for more.
_FLUSH_SECONDS: Final = 0.05
_FAULT_LINES: Final = 50
_LENGTH: Final = struct.Struct(">I")


class Output:
    """Writes frames in the process's thread; a reader that pauses makes it block."""

    def __init__(self, connection: socket.socket, clock: Callable[[], float] = time.monotonic) -> None:
        self._connection = connection
        self._clock = clock
        self._pieces: list[bytes] = []
        self._size = 0
        self._flushed = clock()

    def send(self, kind: bytes, data: bytes) -> None:
        """Send a frame, after the data that waits."""
        self.flush()
        self._connection.sendall(_LENGTH.pack(len(data) + 1) + kind + data)

    def note(self, kind: bytes, fields: dict[str, Any]) -> None:
        """Send an object."""
        self.send(kind, json.dumps(fields).encode())

    def fault(self) -> None:
        """Send the exception that is being handled, for the log."""
        lines = traceback.format_exc().rstrip("\n").split("\n")
        self.note(FAULT, {"text": "\n".join(printable(line[:1000]) for line in lines[-_FAULT_LINES:])})

    def write(self, data: bytes) -> None:
        """Send data, together with the next data if these are soon; in pieces of at most PIECE_BYTES."""
        if self._size + len(data) > PIECE_BYTES:
            self.flush()
        while len(data) > PIECE_BYTES:
            self.send(DATA, data[:PIECE_BYTES])
            data = data[PIECE_BYTES:]
        self._pieces.append(data)
        self._size += len(data)
        if self._clock() - self._flushed >= _FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Send the data that waits."""
        self._flushed = self._clock()
        if self._pieces:
            data, self._pieces, self._size = b"".join(self._pieces), [], 0
            self._connection.sendall(_LENGTH.pack(len(data) + 1) + DATA + data)


class Input:
    """Reads lines of JSON from the console. For one thread."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._data = b""

    def ready(self, seconds: float = 0.0) -> bool:
        """Return whether a line, or the end, has arrived; wait for it at most so long."""
        return b"\n" in self._data or bool(select.select([self._connection], [], [], seconds)[0])

    def line(self) -> dict[str, Any] | None:
        """Return the next line; None at the end."""
        while b"\n" not in self._data:
            more = self._connection.recv(1 << 16)
            if not more:
                return None
            self._data += more
        line, _, self._data = self._data.partition(b"\n")
        found: dict[str, Any] = json.loads(line)
        return found
