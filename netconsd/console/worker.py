"""A process that answers the console's queries: ``python -m netconsd.console.worker DIRECTORY OPTIONS``.

It has standard input and output on one socket. Requests are lines of JSON, answers are frames (frames.py): ``HEAD``
with the status, ``DATA``, ``END``. A line ``{"cancel": true}`` ends the query that runs, ``{"names": {...}}`` has names
of machines. It ends with the socket.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from netconsd.console.failure import Refused
from netconsd.console.frames import END, HEAD, NOTE, SHOWN, Input, Output
from netconsd.console.limits import PROCESS_BYTES
from netconsd.console.messages import Encoder
from netconsd.names import Names

#: Below every process that receives.
NICE: Final = 10


class Answer:
    """The answer to one query, as the query writes it."""

    def __init__(self, output: Output, cancelled: Callable[[], bool]) -> None:
        self._output = output
        #: True if a part of it was sent: from then on an error is a line of it.
        self.has_begun = False
        #: Whether nobody waits for the answer any more.
        self.cancelled = cancelled

    def begin(self, kind: str, **headers: str) -> None:
        """Begin the answer: from now on errors are a line of it.

        :param kind: the media type.
        """
        self.has_begun = True
        self._output.note(HEAD, {"status": 200, "type": kind, "headers": headers})

    def write(self, data: bytes) -> None:
        """Add to the answer."""
        self._output.write(data)

    def line(self, name: str, value: Any) -> None:
        """Add a line of JSON to the answer."""
        self._output.write(json.dumps({name: value}).encode() + b"\n")

    def flush(self) -> None:
        """Send what waits."""
        self._output.flush()

    def seam(self, ids: list[str], begin: int) -> None:
        """Tell the console which messages a replay has, and the time in microseconds before which none is wanted."""
        self._output.note(NOTE, {"ids": ids, "begin": begin})

    def object(self, fields: dict[str, Any]) -> None:
        """Answer with an object."""
        self.begin("application/json")
        self._output.write(json.dumps(fields).encode())

    def fail(self, error: Refused) -> None:
        """Answer with an error, or end an answer that has begun with one."""
        if self.has_begun:
            self._output.write(error.body() + b"\n")
            return
        self._output.note(HEAD, {"status": error.status, "type": "application/json", "headers": {}})
        self._output.write(error.body())


def main(arguments: list[str]) -> int:
    """Answer queries until the socket is closed."""
    # Ctrl-C in a terminal is for the daemon, which closes the socket.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(NICE)
    resource.setrlimit(resource.RLIMIT_AS, (PROCESS_BYTES, PROCESS_BYTES))
    # After the limit, and after the fork: it takes half a second.
    from netconsd.console.queries import Reader

    connection = socket.socket(fileno=0)
    given, output = Input(connection), Output(connection)
    # Says that it has started.
    output.note(SHOWN, {"addresses": []})
    options = json.loads(arguments[1])
    encoder = Encoder(Names(options["host_key"]))
    reader = Reader(Path(arguments[0]), encoder)

    def cancelled() -> bool:
        # The console sends nothing during a query but that nobody waits for it.
        return given.ready()

    while True:
        request = given.line()
        if request is None:
            return 0
        if "cancel" in request:
            # For a query that had ended.
            continue
        if "names" in request:
            encoder.names.put(request["names"])
            continue
        answer = Answer(output, cancelled)
        try:
            reader.answer(request, answer)
        except Refused as error:
            answer.fail(error)
        except BrokenPipeError:
            return 0
        except MemoryError:
            answer.fail(Refused(503, "the query needs too much memory: choose a shorter time or fewer machines"))
            output.note(END, {})
            # Another process begins with an empty memory.
            return 0
        except Exception:
            output.fault()
            answer.fail(Refused(500, "netconsd has a defect here; its log says more"))
            output.note(END, {})
            return 0
        if addresses := encoder.shown():
            output.note(SHOWN, {"addresses": addresses})
        output.note(END, {})


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (ConnectionError, KeyboardInterrupt):
        sys.exit(0)
