"""Takes messages out of a stream of NATS JetStream, by one durable consumer for each partition.

1. **Which partitions** a processor takes follows from the members of its group (:mod:`netconsd.process.sharing`), which
   tell each other with a message a second that they live. Nothing is stored for that.
2. **One processor at a time.** The consumers are pinned (``priority_policy``, nats-server 2.11): the server gives a
   partition to one client only, until that leaves it or has not asked for :data:`PIN_SECONDS`.
3. **Order.** The server delivers again what a processor that died had not acknowledged, after :data:`ACK_SECONDS`,
   and not always in order (seen with nats-server 2.15.1). A processor that takes over therefore holds what it gets
   until everything that is not acknowledged is in its hands, and processes it in the order of the stream.
4. **Work that takes long** is reported to the server as in progress, so that it is not delivered again.
5. **A processor that hung**, or was away from the server, while others had its partitions begins with them as if it
   had just taken them over. The server numbers what it delivers of a partition to anyone: a gap shows it.
6. **Delivered before.** The server numbers the deliveries of a message. One that was delivered before, and not
   acknowledged, may have been processed (``again`` of :meth:`Intake.take`), unless its processor gave it back, and told
   the group so.
7. **A partition is given away** when the members change: what was taken is processed and acknowledged, then the server
   is asked to unpin. A processor that stops gives all away.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from netconsd.process.address import Address
from netconsd.process.client import LEAVE_SECONDS, Client, LostError
from netconsd.process.intake import Done, Intake, NotKeptError
from netconsd.process.sharing import BEAT_SECONDS, GONE_SECONDS, Members, shares
from netconsd.streams import natstls

if TYPE_CHECKING:
    from nats.aio.client import Client as Connection
    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription

#: Seconds after which the server delivers again what was neither acknowledged nor reported as in progress.
ACK_SECONDS: Final = 5.0
#: Seconds after which a partition of a processor that does not ask is given to another one that does. Longer than
#: ACK_SECONDS: what the other had not acknowledged can be delivered again at once.
PIN_SECONDS: Final = 6.0
#: Seconds between two reports that work is in progress.
PROGRESS_SECONDS: Final = 1.5
#: Seconds for which the server keeps a request for messages.
PULL_SECONDS: Final = 2.0
#: Messages of a request; its bytes are twice the server's max_payload.
PULL_MESSAGES: Final = 128
#: Messages of a partition that may be unacknowledged: seconds of them, as the memory of copies holds some for seconds.
PENDING_LIMIT: Final = 512
#: Seconds between two looks whether everything that is not acknowledged is here.
LOOK_SECONDS: Final = 0.2
#: Seconds between two turns if nothing happens.
TURN_SECONDS: Final = 0.1
#: Seconds for an answer of the server, and for a connection.
ANSWER_SECONDS: Final = 5
#: Seconds between two looks for partitions that nobody takes.
SUBJECTS_SECONDS: Final = 60.0
#: Errors of JetStream: no such stream; no such consumer.
_NO_STREAM: Final = 10059
_NO_CONSUMER: Final = 10014
#: Two consumers want the same messages of a stream with retention workqueue.
_NOT_UNIQUE: Final = 10100
_GROUP: Final = "netconsd"


class _RefusedError(LostError):
    """An answer of JetStream with an error."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code


class _Token(NamedTuple):
    """A delivery: where to acknowledge it, its number in the stream, and among the deliveries of the partition."""

    reply: str
    seq: int
    delivery: int
    #: How often the message was delivered, to anyone; and whether it may have been processed before.
    times: int = 1
    again: bool = False

    def __str__(self) -> str:
        return f"message {self.seq} of the stream"


class _Taken:
    """A partition that this processor takes."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.pin = ""
        #: When messages were asked for, and how many of them are to come; 0 without a request.
        self.asked_at = 0.0
        self.left = 0
        #: By number in the stream, messages that wait until all unacknowledged ones are here; None if they are.
        self.held: dict[int, tuple[_Token, bytes]] | None = {}
        self.looked_at = 0.0
        #: Of the answers; None before the first request.
        self.subscription: Subscription | None = None
        #: The number of the last delivery, to anyone, as far as it is known; 0 if it is not.
        self.delivered = 0
        #: Since when it is given away; 0 if it is not.
        self.leaving_since = 0.0


class NatsClient(Client):
    """Takes the partitions of ``SUBJECT.blocks.N`` and ``SUBJECT.lines.N``."""

    def __init__(
        self,
        intake: Intake,
        address: Address,
        group: str,
        *,
        subject: str,
        partitions: int,
        properties: Mapping[str, str],
        clock: Callable[[], float] = time.monotonic,
        **options: Any,
    ) -> None:
        """
        :param subject: as the setting of the module nats, and ``partitions`` likewise.
        :param properties: user, password, token, credentials, ca_file, certificate.
        """
        super().__init__(intake, **options)
        self._address = address
        self._group = group
        self._subject = subject
        self.partitions = partitions
        self._properties = dict(properties)
        self._clock = clock
        self._name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self._members = Members(self._name)
        self._taken: dict[int, _Taken] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._work = asyncio.Event()
        # Why the session has ended; empty while it lasts.
        self._lost = ""
        # When the session before ended.
        self._away_since = clock()
        self._inbox = ""
        self._shown: list[int] | None = None
        # That the stream has partitions beyond ``partitions``.
        self._foreign = ""
        self._is_warned = False
        # By partition, the messages that were given back unprocessed (rule 6): by the number in the stream, the number
        # of deliveries until then.
        self._returned: dict[int, dict[int, int]] = {}
        # The last processor of the group with other partitions: its name, their number, and when it was heard.
        self._contrary: tuple[str, int, float] | None = None

    def faults(self) -> list[str]:
        found = [self._foreign] if self._foreign else []
        contrary = self._contrary
        if contrary is not None and self._clock() - contrary[2] < GONE_SECONDS:
            found.append(_contradiction(contrary[0], contrary[1], self.partitions))
        return found

    def interrupt(self) -> None:
        loop = self._loop
        if loop is not None:
            # The loop of a session that has just ended is closed.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(self._work.set)

    def session(self) -> None:
        with asyncio.Runner() as runner:
            self._loop = runner.get_loop()
            try:
                runner.run(self._session())
            finally:
                self._loop = None

    async def _session(self) -> None:
        import nats.errors

        self._work = asyncio.Event()
        self._lost = ""
        connection = await self._connection()
        try:
            await self._prepare(connection)
            self._connected(f"{self._address} as {self._group}")
            # Others that live tell that within this time: without it, a new member would first ask for everything.
            await asyncio.sleep(0 if self._stopping.is_set() else 1.2 * BEAT_SECONDS)
            await self._take(connection)
        except NotKeptError as error:
            raise LostError(f"is asked to deliver again, because a module cannot sync: {error}") from error
        except (TimeoutError, OSError, nats.errors.Error) as error:
            raise LostError(self._lost or _text(error)) from error
        finally:
            self._disconnected()
            with suppress(Exception):
                async with asyncio.timeout(1.0):
                    await connection.close()

    def _disconnected(self) -> None:
        """Let what was decoded be finished; the rest is delivered again, here or elsewhere."""
        for number in list(self._taken):
            self.intake.leave(number)
        self._taken.clear()
        self._away_since = self._clock()

    async def _connection(self) -> Connection:
        import nats.errors

        errors: dict[str, None] = {}

        async def failed(error: Exception) -> None:
            errors[_text(error)] = None

        async def closed() -> None:
            self._lost = "; ".join(errors) or "the server closed the connection"
            self._work.set()

        properties = self._properties
        connection = natstls.client(is_tls=self._address.is_tls)
        try:
            async with asyncio.timeout(2 * ANSWER_SECONDS):
                await connection.connect(
                    [f"{'tls' if self._address.is_tls else 'nats'}://{server}" for server in self._address.servers],
                    name=f"netconsd process {self._group}",
                    allow_reconnect=False,
                    max_reconnect_attempts=1,
                    reconnect_time_wait=0,
                    connect_timeout=ANSWER_SECONDS,
                    tls=self._tls() if self._address.is_tls else None,
                    user=properties.get("user"),
                    password=properties.get("password"),
                    token=properties.get("token"),
                    user_credentials=properties.get("credentials"),
                    closed_cb=closed,
                    error_cb=failed,
                )
        except (TimeoutError, OSError, nats.errors.Error) as error:
            with suppress(Exception):
                await connection.close()
            raise LostError(f"{self._address}: {_advised('; '.join(errors) or _text(error))}") from error
        return connection

    def _tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self._properties.get("ca_file"))
        if "certificate" in self._properties:
            context.load_cert_chain(self._properties["certificate"])
        return context

    async def _prepare(self, connection: Connection) -> None:
        """Make the consumers, and listen.

        :raises LostError: if the stream has other subjects than this processor takes.
        """
        config = (await self._ask(connection, f"STREAM.INFO.{self._address.name}", {}))["config"]
        patterns = config.get("subjects") or []
        # A mirror has none of its own.
        if patterns and not any(
            _matches(pattern, subject)
            for pattern in patterns
            for number in range(self.partitions)
            for subject in self._subjects(number)
        ):
            raise LostError(
                f"the stream {self._address.name} takes {', '.join(patterns)[:200]}, and not {self._subjects(0)[0]}: "
                "write --subject as the setting subject of the module nats"
            )
        self._inbox = connection.new_inbox()
        beats = f"_netconsd.process.{self._address.name}.{self._group}"
        await connection.subscribe(beats, cb=self._beaten)
        await asyncio.gather(*(self._make_consumer(connection, number) for number in range(self.partitions)))

    def _subjects(self, number: int) -> list[str]:
        return [f"{self._subject}.{kind}.{number}" for kind in ("blocks", "lines")]

    async def _make_consumer(self, connection: Connection, number: int) -> None:
        """Make or change the consumer of a partition.

        :raises LostError: if the group takes other subjects: with a changed one, the other processors would get these
            messages instead of their own.
        """
        name = self._consumer(number)
        subjects = self._subjects(number)
        try:
            found = await self._ask(connection, f"CONSUMER.INFO.{self._address.name}.{name}", {})
        except _RefusedError as error:
            if error.code != _NO_CONSUMER:
                raise
        else:
            others = found["config"].get("filter_subjects") or [found["config"].get("filter_subject", "")]
            if others != subjects:
                raise LostError(
                    f"the group {self._group} takes {others[0] or 'all subjects'}, and not {subjects[0]}: write "
                    f"--subject as its other processors, another --group, or remove its consumers (nats consumer rm "
                    f"{self._address.name} {name})"
                )
        config = {
            "durable_name": name,
            "description": "netconsd process",
            "deliver_policy": "all",
            "ack_policy": "explicit",
            "ack_wait": _nanoseconds(ACK_SECONDS),
            "max_ack_pending": PENDING_LIMIT,
            "filter_subjects": subjects,
            "priority_groups": [_GROUP],
            "priority_policy": "pinned_client",
            "priority_timeout": _nanoseconds(PIN_SECONDS),
        }
        answer = await self._ask(connection, f"CONSUMER.CREATE.{self._address.name}.{name}", {
            "stream_name": self._address.name, "config": config, "action": "",
        })  # fmt: skip
        if answer["config"].get("priority_policy") != "pinned_client":
            raise LostError("the server is older than nats-server 2.11, which this needs")

    def _consumer(self, number: int) -> str:
        return f"{self._group}-{number}"

    async def _ask(self, connection: Connection, subject: str, question: object) -> dict[str, Any]:
        """Ask JetStream.

        :raises LostError: if it answers with an error, or not at all.
        """
        import nats.errors

        try:
            message = await connection.request(
                f"$JS.API.{subject}", json.dumps(question).encode(), timeout=ANSWER_SECONDS
            )
        except nats.errors.NoRespondersError as error:
            raise LostError("JetStream is off, or the user may not use it") from error
        except TimeoutError as error:
            raise LostError("JetStream does not answer") from error
        answer: dict[str, Any] = json.loads(message.data)
        if "error" in answer:
            code, text = answer["error"].get("err_code"), str(answer["error"].get("description"))
            if code == _NO_STREAM:
                text = f"the server has no stream {self._address.name}; docs/processing has a command that makes one"
            elif code == _NOT_UNIQUE:
                text = (
                    f"the stream {self._address.name} has retention workqueue, and so serves one group; consumers of "
                    "another one take its messages (nats consumer ls). For several groups, it needs retention limits, "
                    "and a max_age"
                )
            raise _RefusedError(text, code or 0)
        return answer

    async def _take(self, connection: Connection) -> None:
        """Take and acknowledge until the stop."""
        beaten_at = progress_at = subjects_at = float("-inf")
        while True:
            now = self._clock()
            if self._lost:
                raise LostError(self._lost)
            stopping = self._stopping.is_set()
            if now - beaten_at >= BEAT_SECONDS and not stopping:
                beaten_at = now
                await self._beat(connection, "here")
            if now - subjects_at >= SUBJECTS_SECONDS and not stopping:
                subjects_at = now
                await self._look_at_subjects(connection)
            await self._divide(connection, now)
            for each in self.intake.turn():
                await self._acknowledge(connection, each)
            if now - progress_at >= PROGRESS_SECONDS:
                progress_at = now
                await self._report_progress(connection)
            for taken in list(self._taken.values()):
                if taken.leaving_since:
                    await self._leave(connection, taken, now)
                else:
                    await self._look_at_held(connection, taken, now)
                    await self._pull(connection, taken, now)
            if stopping and not self._taken and not self.intake.partitions:
                await self._beat(connection, "gone")
                await connection.flush(timeout=1)
                return
            self._work.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(TURN_SECONDS):
                    await self._work.wait()

    # The group.

    async def _beat(self, connection: Connection, word: str, **more: object) -> None:
        await connection.publish(
            f"_netconsd.process.{self._address.name}.{self._group}",
            json.dumps({"name": self._name, "is": word, "partitions": self.partitions, **more}).encode(),
        )

    async def _beaten(self, message: Msg) -> None:
        """Take the sign of life of a processor; anyone who may publish can write it."""
        with suppress(ValueError, KeyError, TypeError, OverflowError, RecursionError):
            beat = json.loads(message.data)
            name = str(beat["name"])[:200]
            if name == self._name:
                return
            if beat["is"] == "gone":
                self._members.left(name)
                self._work.set()
                if self._contrary is not None and name == self._contrary[0]:
                    self._contrary = None
            elif beat["is"] == "giving back":
                self._given_back(int(beat["partition"]), [(int(seq), int(times)) for seq, times in beat["messages"]])
            elif beat["partitions"] == self.partitions:
                self._members.heard(name, self._clock())
            else:
                other = int(beat["partitions"])
                if self._contrary is None or self._contrary[:2] != (name, other):
                    self._log.warn("{text}", text=_contradiction(name, other, self.partitions))
                self._contrary = name, other, self._clock()

    async def _divide(self, connection: Connection, now: float) -> None:
        """Take the partitions of this processor, and begin to give away the others."""
        mine: list[int] = []
        members = self._members.present(now)
        if not self._stopping.is_set():
            mine = shares(members, self.partitions)[self._name]
        before = set(self.intake.partitions)
        for number in mine:
            taken = self._taken.get(number)
            if taken is None:
                self._taken[number] = _Taken(number)
                self.intake.begin(number)
                if number in before and len(members) > 1 and now - self._away_since >= GONE_SECONDS:
                    self.intake.interrupted(number)
        # Also those of a session before this one.
        for number in {*self._taken, *self.intake.partitions} - set(mine):
            taken = self._taken.setdefault(number, _Taken(number))
            if not taken.leaving_since:
                taken.leaving_since = now
                tokens = [token for token, _ in (taken.held or {}).values()]
                taken.held = {}
                await self._give_back(connection, number, tokens + self.intake.leave(number))
        if mine != self._shown and not self._stopping.is_set():
            self._shown = mine
            self._log.info(
                "This processor takes {count} of {all} partitions: {numbers}",
                count=len(mine), all=self.partitions, numbers=", ".join(map(str, mine)) or "none",
            )  # fmt: skip

    async def _give_back(self, connection: Connection, number: int, tokens: list[_Token]) -> None:
        """Have the server deliver messages to another processor, which learns first that they were not processed."""
        messages = [(token.seq, token.times) for token in tokens if not token.again]
        if messages:
            self._given_back(number, messages)
            await self._beat(connection, "giving back", partition=number, messages=messages)
        for token in tokens:
            await connection.publish(token.reply, b"-NAK")

    def _given_back(self, number: int, messages: list[tuple[int, int]]) -> None:
        """Note messages that this or another processor gave back."""
        if 0 <= number < self.partitions:
            returned = self._returned.setdefault(number, {})
            if len(returned) + len(messages) > 2 * PENDING_LIMIT:
                # They were delivered since.
                returned.clear()
            returned.update(messages[:PENDING_LIMIT])

    async def _leave(self, connection: Connection, taken: _Taken, now: float) -> None:
        number = taken.number
        late = self._given_up.is_set() or now - taken.leaving_since >= LEAVE_SECONDS
        if not late and not self.intake.is_idle(number):
            return
        self.intake.end(number)
        del self._taken[number]
        if taken.subscription is not None:
            # The server would answer a request that it still has, and pin the partition to this processor again.
            await taken.subscription.unsubscribe()
        if taken.pin:
            # Acknowledgements that were published before are processed before. One that fails costs PIN_SECONDS.
            await connection.publish(
                f"$JS.API.CONSUMER.UNPIN.{self._address.name}.{self._consumer(number)}",
                json.dumps({"group": _GROUP}).encode(),
            )

    async def _look_at_subjects(self, connection: Connection) -> None:
        """Look for partitions that nobody takes because ``--partitions`` is too small, and warn of a stream that loses
        messages."""
        answer = await self._ask(
            connection, f"STREAM.INFO.{self._address.name}", {"subjects_filter": f"{self._subject}.*.*"}
        )
        config = answer["config"]
        deletes = config.get("discard") == "old" and max(config.get("max_bytes", -1), config.get("max_msgs", -1)) > 0
        if deletes and not self._is_warned:
            self._is_warned = True
            self._log.warn(
                "The stream {name} deletes its oldest messages when it is full, processed or not: with discard: new, "
                "the receivers keep what has no room, and nothing is lost unseen",
                name=self._address.name,
            )
        numbers = {
            parts[-1]
            for name in (answer["state"].get("subjects") or {})
            if (parts := name.removeprefix(f"{self._subject}.").split("."))[0] in ("blocks", "lines")
        }
        beyond = sorted(number for number in numbers if not number.isdecimal() or int(number) >= self.partitions)
        self._foreign = (
            f"the stream has messages in partition {beyond[-1]}, which nobody takes: --partitions {self.partitions} "
            "is not the setting partitions of the module nats"
            if beyond
            else ""
        )

    # Messages.

    async def _pull(self, connection: Connection, taken: _Taken, now: float) -> None:
        """Ask for messages, unless they were asked for, or wait here."""
        if taken.left and now - taken.asked_at < PULL_SECONDS + 1.0:
            return
        if self.intake.is_full(taken.number):
            return
        if taken.subscription is None:
            taken.subscription = await connection.subscribe(f"{self._inbox}.{taken.number}", cb=self._received)
        request: dict[str, object] = {
            "batch": PULL_MESSAGES,
            "max_bytes": 2 * connection.max_payload,
            "expires": _nanoseconds(PULL_SECONDS),
            "group": _GROUP,
        }
        if taken.pin:
            request["id"] = taken.pin
        taken.asked_at = now
        taken.left = PULL_MESSAGES
        await connection.publish(
            f"$JS.API.CONSUMER.MSG.NEXT.{self._address.name}.{self._consumer(taken.number)}",
            json.dumps(request).encode(),
            f"{self._inbox}.{taken.number}",
        )

    async def _received(self, message: Msg) -> None:
        """Take a message of a partition, or the end of a request."""
        number = int(message.subject.rpartition(".")[2])
        taken = self._taken.get(number)
        headers = message.headers or {}
        status = headers.get("Status")
        if status is not None:
            if taken is not None and status != "100":
                taken.left = 0
                if status == "423":
                    # Another one has it, or had it meanwhile.
                    taken.pin = ""
                    taken.held = taken.held or {}
                elif status == "409" and "onsumer" in str(headers.get("Description", "")):
                    self._lost = f"consumer {self._consumer(number)}: {headers.get('Description')}"
                self._work.set()
            return
        pin = headers.get("Nats-Pin-Id", "")
        token = self._token(number, message)
        if taken is None or taken.leaving_since:
            if taken is not None and pin:
                taken.pin = pin
            with suppress(Exception):
                await self._give_back(message._client, number, [token])
            return
        taken.left = max(0, taken.left - 1)
        if pin and pin != taken.pin:
            taken.held = taken.held or {}
            taken.pin = pin
        if taken.delivered and token.delivery > taken.delivered + 1:
            # What is held may be acknowledged, and does not count as unacknowledged then (rule 3).
            taken.held = {}
            self.intake.interrupted(number)
        taken.delivered = token.delivery
        if taken.held is None:
            self.intake.take(number, token, message.data, again=token.again)
        else:
            taken.held[token.seq] = token, message.data
        self._work.set()

    def _token(self, number: int, message: Msg) -> _Token:
        metadata = message.metadata
        seq = metadata.sequence.stream
        times = metadata.num_delivered or 1
        # The deliveries up to this number were not processed.
        returned = self._returned.get(number, {}).get(seq, 0) if times > 1 else 0
        return _Token(message.reply, seq, metadata.sequence.consumer, times, times > returned + 1)

    async def _look_at_held(self, connection: Connection, taken: _Taken, now: float) -> None:
        """Process what was held if nothing that is not acknowledged is anywhere else (rule 3)."""
        if not taken.held or now - taken.looked_at < LOOK_SECONDS:
            return
        taken.looked_at = now
        info = await self._ask(connection, f"CONSUMER.INFO.{self._address.name}.{self._consumer(taken.number)}", {})
        # Under load, further messages have come since the server counted: with them, one that is elsewhere would be
        # overlooked; without those that came while it was asked, what is held would be held for long.
        last = info["delivered"]["consumer_seq"]
        tokens = [*(token for token, _ in taken.held.values()), *self.intake.tokens(taken.number)]
        here = {token.seq for token in tokens if token.delivery <= last}
        if info["num_ack_pending"] > len(here):
            return
        held, taken.held = taken.held, None
        for seq in sorted(held):
            token, data = held[seq]
            self.intake.take(taken.number, token, data, again=token.again)
        self._work.set()

    async def _report_progress(self, connection: Connection) -> None:
        for number, taken in self._taken.items():
            replies = [token.reply for token, _ in (taken.held or {}).values()]
            replies += [token.reply for token in self.intake.tokens(number)]
            for reply in replies:
                await connection.publish(reply, b"+WPI")

    async def _acknowledge(self, connection: Connection, done: Done) -> None:
        await connection.publish(done.token.reply, b"+TERM netconsd cannot read it" if done.is_damaged else b"+ACK")


def _advised(text: str) -> str:
    """Return the text of an error of a connection, with the place of the password if it is about that."""
    if "authorization violation" in text.lower():
        return f"{text}: write user and password, token, or credentials into the file of --broker-config"
    return text


def _contradiction(name: str, other: int, own: int) -> str:
    return (
        f"processor {name} of the same group has --partitions {other}, this one {own}: they do not share the work; "
        "write the setting partitions of the module nats for both"
    )


def _matches(pattern: str, subject: str) -> bool:
    """Return whether a pattern of NATS, in which `*` is any word and `>` all further ones, has a subject in it."""
    want, have = pattern.split("."), subject.split(".")
    if want[-1] == ">":
        want.pop()
        if len(have) <= len(want):
            return False
        have = have[: len(want)]
    return len(want) == len(have) and all(one in ("*", other) for one, other in zip(want, have, strict=True))


def _nanoseconds(seconds: float) -> int:
    return round(seconds * 1e9)


def _text(error: BaseException) -> str:
    return getattr(error, "description", None) or getattr(error, "strerror", None) or str(error) or type(error).__name__
