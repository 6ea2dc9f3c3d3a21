"""The live tails: the viewers, and the last pieces of each filter that somebody views. For the reactor's thread.

Rules:

1. The process of the tail (tail.py) makes the frames, once per filter; here bytes are copied.
2. A filter has a ring of the last :data:`~netconsd.console.limits.RING_BYTES`, which its viewers share; a viewer has a
   place in it. Nothing is written to a viewer whose transport has not asked for more. A viewer whose place was
   overwritten continues at the oldest piece and gets the number of messages that it missed, as the event ``dropped``.
3. A viewer is a push producer: twisted.web asks a pull producer again and again while there is nothing to send.
4. A viewer who reads nothing for a minute is aborted, and a process that is silent for
   :data:`~netconsd.console.limits.SILENT_SECONDS` is killed: browsers reconnect.
5. A viewer who reconnects continues at the place in the ring that ``Last-Event-ID`` names. If that is gone, the store
   is searched from that place on; messages of that search that the ring has as well are sent once.
"""

from __future__ import annotations

import json
import secrets
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from twisted.internet.interfaces import IPushProducer
from twisted.logger import Logger
from zope.interface import implementer

from netconsd.console import limits, process
from netconsd.console.failure import Refused
from netconsd.console.frames import NOTE, SHOWN
from netconsd.console.naming import Sent
from netconsd.console.pool import Pool, Query
from netconsd.console.process import Process
from netconsd.console.replay import Cursor

MODULE = "netconsd.console.tail"
log = Logger("netconsd.console")
_COMMENT = b": \n\n"


@dataclass(frozen=True, slots=True)
class Piece:
    """Some frames of a filter."""

    #: The number of the first message in it, or of the next message if it has none.
    first: int
    data: bytes
    #: Of each message: its identity, where its frame ends, and the time of its place.
    ids: Sequence[str]
    ends: Sequence[int]
    usecs: Sequence[int]
    #: Crash reports and events in it.
    findings: int = 0

    def without(self, known: set[str], begin_usec: int) -> bytes:
        """Return the data without the frames of known messages, and of those before a time."""
        kept, at = [], 0
        for number, end in enumerate(self.ends):
            if self.ids[number] in known or self.usecs[number] < begin_usec:
                # The first frame can have a "dropped" before it, which stays.
                begin = self.data.find(b"\n\nid: ", at, end)
                kept.append(self.data[at : begin + 2] if begin >= 0 else b"")
            else:
                kept.append(self.data[at:end])
            at = end
        return b"".join([*kept, self.data[at:]])

    def after(self, number: int) -> bytes:
        """Return the data after a message."""
        return self.data[self.ends[number - self.first] :]


class Connection(Protocol):
    """The response to a viewer."""

    def write(self, data: bytes) -> None: ...
    def unregisterProducer(self) -> None: ...  # noqa: N802 - Twisted's name
    def finish(self) -> None: ...
    def abort(self) -> None: ...


class Channel:
    """A filter, its ring and its viewers."""

    def __init__(self, number: int, stream: str, key: str = "") -> None:
        self.number = number
        #: The filter.
        self.key = key
        self.stream = stream
        self.ring: deque[Piece] = deque()
        self.bytes = 0
        #: The number of the oldest piece in the ring, and of the next one.
        self.begin = 0
        self.end = 0
        #: The number of the next message.
        self.next_message = 1
        #: Findings that were added, and those that the ring has dropped.
        self.findings = 0
        self.findings_gone = 0
        self.viewers: set[Viewer] = set()
        self.waiting: list[Callable[[Refused | None], None]] | None = []
        self.lingering: Any = None

    def add(self, piece: Piece, filters: int = 1) -> None:
        """Add a piece, drop the oldest ones, and let the viewers send.

        :param filters: the number of filters, which share the memory.
        """
        self.ring.append(piece)
        self.bytes += len(piece.data)
        self.end += 1
        self.next_message = piece.first + len(piece.ids)
        self.findings += piece.findings
        most = min(limits.RING_BYTES, limits.RINGS_BYTES // filters)
        while self.bytes > most and len(self.ring) > 1:
            gone = self.ring.popleft()
            self.bytes -= len(gone.data)
            self.findings_gone += gone.findings
            self.begin += 1
        for viewer in list(self.viewers):
            viewer.send()

    def place_of(self, cursor: Cursor) -> tuple[int, bytes] | None:
        """Return the piece after a message, and the rest of its own piece; None if the ring does not have it."""
        if cursor.stream != self.stream:
            return None
        for number, piece in enumerate(self.ring, self.begin):
            if piece.first <= cursor.number < piece.first + len(piece.ids):
                return number + 1, piece.after(cursor.number)
        return None


@implementer(IPushProducer)
class Viewer:
    """A connection that follows a filter."""

    def __init__(self, live: Live, channel: Channel, connection: Connection) -> None:
        self._live = live
        self._channel = channel
        self._connection = connection
        self._paused = False
        self._unread = 0
        #: The next piece of the ring, the next message, and the number of findings, to know how many were missed.
        self.place = channel.end
        self._message = channel.next_message
        self._findings = channel.findings
        #: The search that sends earlier messages, and the messages that it sent, until the ring cannot repeat them.
        self._replay: Query | None = None
        self._known: set[str] = set()
        #: With ``last``: what was before these messages is not wanted.
        self._begin_usec = 0
        #: The place from which on the ring cannot repeat them.
        self._seam: int | None = None
        self._timer: Any = None
        self._forget: Any = None

    def begin(self, cursor: Cursor | None, last: int, parameters: Mapping[str, Sequence[str]]) -> None:
        """Send what was missed, then follow."""
        found = None if cursor is None else self._channel.place_of(cursor)
        if cursor is not None and found is not None:
            self.place, rest = found
            self._message = self._number_at(self.place)
            before = self.place - self._channel.begin
            self._findings = self._channel.findings_gone + sum(
                piece.findings for number, piece in enumerate(self._channel.ring) if number < before
            )
            self._write(rest)
        elif cursor is not None or last:
            request = {name: list(values) for name, values in parameters.items()}
            request |= {"stream": [self._channel.stream], "last": [str(last)]}
            request |= {"cursor": [str(cursor)]} if cursor is not None else {}
            try:
                self._replay = self._live.pool.ask({"query": "replay", "parameters": request}, self)
            except Refused as error:
                self.failed(error)
        self._connection_alive()
        self.send()

    def _number_at(self, place: int) -> int:
        index = place - self._channel.begin
        return self._channel.ring[index].first if index < len(self._channel.ring) else self._channel.next_message

    # The client of the search.

    def head(self, status: int, kind: str, headers: dict[str, str]) -> None:
        """Do nothing: the response has begun."""

    def data(self, data: bytes) -> None:
        """Send a part of the search."""
        self._write(data)

    def note(self, fields: dict[str, Any]) -> None:
        """Take the messages that the search sent."""
        self._known = set(fields["ids"])
        self._begin_usec = fields["begin"]

    def end(self) -> None:
        """Follow the ring from here on."""
        self._replay = None
        self._forget = self._live.reactor.callLater(limits.SEAM_SECONDS, self._end_seam)
        self.send()

    def _end_seam(self) -> None:
        # A slow viewer gets the pieces of this time later.
        self._seam = self._channel.end
        self.send()

    def failed(self, error: Refused) -> None:
        """Say that messages are missing; the number is not known."""
        self._write(b"event: dropped\ndata: %b\n\n" % json.dumps({"count": None, "why": error.text}).encode())
        self._replay = None
        self.send()

    # The producer.

    def pauseProducing(self) -> None:
        self._paused = True
        if self._replay is not None:
            self._replay.pause()

    def resumeProducing(self) -> None:
        self._paused = False
        self._unread = 0
        if self._replay is not None:
            self._replay.resume()
        self.send()

    def stopProducing(self) -> None:
        self.close()

    def send(self) -> None:
        """Send pieces until the transport has enough."""
        channel = self._channel
        while not self._paused and self._replay is None and self.place < channel.end:
            if self._seam is not None and self.place >= self._seam:
                self._known.clear()
            if self.place < channel.begin:
                self.place = channel.begin
                missed = self._number_at(self.place) - self._message + channel.findings_gone - self._findings
                if missed > 0:
                    self._write(b'event: dropped\ndata: {"count":%d}\n\n' % missed)
                self._message = self._number_at(self.place)
                self._findings = channel.findings_gone
                continue
            piece = channel.ring[self.place - channel.begin]
            self.place += 1
            self._message = piece.first + len(piece.ids)
            self._findings += piece.findings
            self._write(piece.without(self._known, self._begin_usec) if self._known else piece.data)

    def _write(self, data: bytes) -> None:
        if data:
            self._connection.write(data)
            self._connection_alive()

    def _connection_alive(self) -> None:
        if self._timer is None or not self._timer.active():
            self._timer = self._live.reactor.callLater(limits.COMMENT_SECONDS, self._comment)
        else:
            self._timer.reset(limits.COMMENT_SECONDS)

    def _comment(self) -> None:
        if not self._paused:
            self._connection.write(_COMMENT)
        else:
            self._unread += 1
            if self._unread >= limits.UNREAD_COMMENTS:
                self.close()
                self._connection.abort()
                return
        self._timer = self._live.reactor.callLater(limits.COMMENT_SECONDS, self._comment)

    def close(self) -> None:
        """End: the connection is lost, or the console stops."""
        for timer in (self._timer, self._forget):
            if timer is not None and timer.active():
                timer.cancel()
        replay, self._replay = self._replay, None
        if replay is not None:
            replay.cancel()
        self._live.closed(self, self._channel)

    def finish(self) -> None:
        """End the response: the browser reconnects."""
        self.close()
        self._connection.unregisterProducer()
        self._connection.finish()


class Live:
    """The filters that are viewed, and the process that makes their frames."""

    def __init__(self, reactor: Any, directory: str, options: dict[str, Any], pool: Pool) -> None:
        """
        :param options: of the process.
        """
        self.reactor = reactor
        self.pool = pool
        self._directory = directory
        self._options = options
        self._stream = ""
        self._process: Process | None = None
        self._names: Sent | None = None
        #: Looks at the process since it sent anything.
        self._silent = 0
        self._look: Any = None
        self._channels: dict[str, Channel] = {}
        self._by_number: dict[int, Channel] = {}
        #: Filters that were too slow, with the errors, and the times until which they are refused.
        self._refused: dict[str, tuple[Refused, float]] = {}
        self._number = 0
        self._idle: Any = None
        self.viewers = 0

    def open(
        self, parameters: Mapping[str, Sequence[str]], opened: Callable[[Channel | None, Refused | None], None]
    ) -> None:
        """Find or make the channel of a filter, and call back with it, or with the reason why there is none.

        :raises Refused: if there are too many viewers or filters.
        """
        if self.viewers >= limits.VIEWERS:
            raise Refused(429, f"{limits.VIEWERS} live tails are open, the most: close one", retry=30)
        key = json.dumps(sorted((name, sorted(values)) for name, values in parameters.items()))
        refused, until = self._refused.get(key, (None, 0.0))
        if refused is not None and self.reactor.seconds() < until:
            raise Refused(refused.status, refused.text, refused.field)
        channel = self._channels.get(key)
        if channel is not None and channel.waiting is None:
            opened(channel, None)
            return
        if channel is None:
            if len(self._channels) >= limits.CHANNELS:
                self._drop_lingering()
            if len(self._channels) >= limits.CHANNELS:
                raise Refused(429, f"{limits.CHANNELS} filters are followed, the most: use one of them", retry=30)
            channel = self._add(key, parameters)
        made = channel
        assert made.waiting is not None
        made.waiting.append(lambda error: opened(None, error) if error is not None else opened(made, None))

    def _add(self, key: str, parameters: Mapping[str, Sequence[str]]) -> Channel:
        if self._process is None:
            self._stream = secrets.token_hex(4)
            options = json.dumps({**self._options, "stream": self._stream})
            try:
                self._process = process.start(
                    self.reactor, MODULE, [self._directory, options], self._frame, self._ended
                )
            except OSError as error:
                raise Refused(503, f"the process of the live tail cannot start: {error.strerror}") from None
            self._names, self._silent = Sent(self.pool.naming), 0
            self._look = self.reactor.callLater(limits.LOOK_SECONDS, self._look_at)
        self._send_names()
        if self._idle is not None and self._idle.active():
            self._idle.cancel()
        self._number += 1
        channel = Channel(self._number, f"{self._stream}-{self._number}", key)
        self._channels[key] = self._by_number[channel.number] = channel
        self._process.request(
            {"add": channel.number, "filter": {name: list(values) for name, values in parameters.items()}}
        )
        return channel

    def _send_names(self) -> None:
        if self._process is not None and self._names is not None and (changes := self._names.changes()):
            self._process.request({"names": changes})

    def _look_at(self) -> None:
        """Send names that have changed; end a process that hangs, as at a disk that does not answer."""
        self._silent += 1
        if self._silent * limits.LOOK_SECONDS > limits.SILENT_SECONDS and self._process is not None:
            log.warn("console: the process of the live tail is stuck for {seconds:g} s; browsers get another",
                     seconds=limits.SILENT_SECONDS)  # fmt: skip
            self._process.kill()
            return
        self._look = self.reactor.callLater(limits.LOOK_SECONDS, self._look_at)
        self._send_names()

    def _frame(self, kind: bytes, data: bytes) -> None:
        self._silent = 0
        if kind == SHOWN:
            self.pool.naming.shown(json.loads(data)["addresses"])
            return
        if kind == NOTE:
            fields = json.loads(data)
            channel = self._by_number.get(fields.get("added", fields.get("refused")))
            if channel is None:
                return
            waiting, channel.waiting = channel.waiting or [], None
            error = None
            if "refused" in fields:
                error = Refused(fields["status"], fields["error"], fields["field"])
                self._remove(channel)
                self._refuse(channel, error)
            for call in waiting:
                call(error)
            if error is None and not channel.viewers:
                self._linger(channel)
            return
        head, _, payload = data.partition(b"\n")
        fields = json.loads(head)
        channel = self._by_number.get(fields["channel"])
        if channel is not None:
            piece = Piece(fields["first"], payload, fields["ids"], fields["ends"], fields["usecs"], fields["findings"])
            channel.add(piece, len(self._channels))

    def _refuse(self, channel: Channel, error: Refused) -> None:
        """End the viewers of a filter that turned out to be too slow, and refuse it for a while."""
        if not channel.viewers:
            return
        while len(self._refused) >= limits.REFUSED_FILTERS:
            del self._refused[next(iter(self._refused))]
        self._refused.pop(channel.key, None)
        self._refused[channel.key] = error, self.reactor.seconds() + limits.REFUSED_SECONDS
        for viewer in list(channel.viewers):
            viewer.failed(error)
            viewer.finish()

    def _ended(self) -> None:
        """The process has ended: the viewers reconnect, which starts another."""
        self._process = None
        for timer in (self._look, self._idle):
            if timer is not None and timer.active():
                timer.cancel()
        channels = list(self._channels.values())
        for channel in channels:
            self._remove(channel)
            for call in channel.waiting or ():
                call(Refused(503, "the process of the live tail ended: the log of netconsd says why", retry=3))
            for viewer in list(channel.viewers):
                viewer.finish()

    def _remove(self, channel: Channel) -> None:
        self._channels = {key: other for key, other in self._channels.items() if other is not channel}
        self._by_number.pop(channel.number, None)
        if channel.lingering is not None and channel.lingering.active():
            channel.lingering.cancel()
        if self._process is not None:
            self._process.request({"remove": channel.number})
            if not self._channels and (self._idle is None or not self._idle.active()):
                self._idle = self.reactor.callLater(limits.IDLE_SECONDS, self._process.kill)

    def _drop_lingering(self) -> None:
        for channel in self._channels.values():
            if not channel.viewers and channel.waiting is None:
                self._remove(channel)
                return

    def view(self, channel: Channel, connection: Connection) -> Viewer:
        """Return a viewer; the caller registers it as the producer of the connection, then calls ``begin``."""
        if channel.lingering is not None and channel.lingering.active():
            channel.lingering.cancel()
        viewer = Viewer(self, channel, connection)
        channel.viewers.add(viewer)
        self.viewers += 1
        return viewer

    def closed(self, viewer: Viewer, channel: Channel) -> None:
        """Called by a viewer at its end."""
        if viewer in channel.viewers:
            channel.viewers.discard(viewer)
            self.viewers -= 1
            if not channel.viewers and channel.number in self._by_number:
                self._linger(channel)

    def _linger(self, channel: Channel) -> None:
        if channel.lingering is not None and channel.lingering.active():
            channel.lingering.cancel()
        channel.lingering = self.reactor.callLater(limits.LINGER_SECONDS, self._remove, channel)

    def end_viewers(self) -> None:
        """End the responses: who may still come reconnects."""
        for channel in list(self._channels.values()):
            for viewer in list(channel.viewers):
                viewer.finish()

    def close(self) -> None:
        """End all."""
        self.end_viewers()
        for channel in list(self._channels.values()):
            self._remove(channel)
        if self._idle is not None and self._idle.active():
            self._idle.cancel()
        if self._process is not None:
            self._process.kill()
