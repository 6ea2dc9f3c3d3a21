"""Sends messages, crash reports and events to NATS JetStream (docs/streams), each with its identity as Nats-Msg-Id.

JetStream acknowledges each message after it has stored it, and drops a second copy with the same Nats-Msg-Id within the
stream's duplicate window. The client's own reconnect is not used: it would send again what this has given up.
"""

from __future__ import annotations

import asyncio
import json
import re
import ssl
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar
from urllib.parse import urlsplit

from netconsd.streams import natstls
from netconsd.streams.broker import Broker
from netconsd.streams.sink import Answer, Encoded, Refused, TryLater
from netconsd.units import Duration

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg

T = TypeVar("T")

TIMEOUT: Final = Duration("30s")
#: Seconds for the connection to one server, so that the others have a turn.
CONNECT_SECONDS: Final = 5
#: Seconds for the end of a connection in order.
CLOSE_SECONDS: Final = 1.0
#: Seconds after which a connection is opened again: nothing answers the server's pings between two batches, and it
#: closes the connection after 4 minutes.
IDLE_SECONDS: Final = 60.0
#: Error codes of JetStream about one message (server/errors.json): it, or its header, is too large for the stream.
REFUSED: Final = frozenset((10054, 10097))
#: The error code of JetStream if a message was not stored, and the beginnings of its texts if the stream is full.
NOT_STORED: Final = 10077
_FULL: Final = "maximum "
#: Bytes of a message in a stream besides its subject, header and data: in a file and in memory (fileStoreMsgSizeRaw and
#: memStoreMsgSizeRaw of nats-server).
_STORED_BYTES: Final = {"file": 34, "memory": 16}
#: Bytes of a header with nothing but an empty Nats-Msg-Id; the server's max_payload includes the header.
_HEADER_BYTES: Final = len(b"NATS/1.0\r\nNats-Msg-Id: \r\n\r\n")
#: The most characters of an id of lines, or of a block: 32 hexadecimal digits, and two numbers of 64 bits.
_ID_BYTES: Final = 32 + 2 * 21
#: The most partitions: a batch has some records for each.
_PARTITIONS_LIMIT: Final = 1024


class _Publish(NamedTuple):
    """One message for the server."""

    subject: str
    id: str
    data: bytes
    #: The places of its records in the batch.
    places: list[int]


class Nats(Broker):
    """Publishes each record, or the lines or the block of each partition, and waits for the acknowledgements."""

    library = "nats"

    def __init__(
        self,
        *,
        servers: list[str],
        subject: str = "netconsd",
        partitions: int = 16,
        credentials: Path | None = None,
        ca_file: Path | None = None,
        certificate: Path | None = None,
        timeout: Duration = TIMEOUT,
        **settings: Any,
    ) -> None:
        """
        :param servers: the servers of one cluster, as nats://127.0.0.1:4222, nats://USER:PASSWORD@host or tls://host.
        :param subject: the first part of the subjects.
        :param partitions: of lines and blocks; a machine's records are in one.
        :param credentials: the file with the user's JWT and seed.
        :param ca_file: the certificates that are trusted for tls, instead of the system's.
        :param certificate: the key and the certificate that the server asks for, in one file.
        :param timeout: how long the servers may take to acknowledge a batch.
        :raises ValueError: if a setting is wrong, with a text that names the setting.
        """
        super().__init__(**settings)
        for server in servers:
            _check_server(server)
        if not servers:
            raise ValueError("servers: write at least one, such as nats://127.0.0.1:4222")
        if len({server.startswith("tls://") for server in servers}) > 1:
            raise ValueError("servers: all or none of them begin with tls://")
        if not re.fullmatch(r"[^\s.*>]+(\.[^\s.*>]+)*", subject) or len(subject) > 200:
            raise ValueError(f'subject: "{subject}" is not words with dots between them')
        if not 1 <= partitions <= _PARTITIONS_LIMIT:
            raise ValueError(f"partitions: {partitions} is not from 1 to {_PARTITIONS_LIMIT}")
        for name, path in (("ca_file", ca_file), ("certificate", certificate)):
            if path is not None and not servers[0].startswith("tls://"):
                raise ValueError(f"{name}: needs servers that begin with tls://")
        self._servers = servers
        self._subject = subject
        self._partitions = partitions
        self._credentials = credentials
        self._ca_file = ca_file
        self._certificate = certificate
        self._timeout = float(timeout)
        self._runner: asyncio.Runner | None = None
        self._client: Client | None = None
        self._inbox = ""
        # Acknowledgements by the number of the message in the batch.
        self._acks: dict[int, dict[str, Any]] = {}
        self._answered = asyncio.Event()
        self._gone = asyncio.Event()
        self._used_at = 0.0
        self.monotonic: Callable[[], float] = time.monotonic

    def check(self) -> None:
        """Test the libraries, and as :meth:`Stream.check`.

        :raises ModuleNotFoundError: if one is missing.
        """
        super().check()
        if self._credentials is not None and find_spec("nkeys") is None:
            raise ModuleNotFoundError("the setting credentials needs nkeys: pip install nkeys", name="nkeys")

    def shape(self) -> tuple[int, int]:
        """Return the number of partitions, and the most bytes of a message without its header.

        :raises TryLater: if no server accepts a connection.
        """
        return self._partitions, self.bounded(self._run(self._payload_bytes) - _HEADER_BYTES - _ID_BYTES)

    async def _payload_bytes(self) -> int:
        async with asyncio.timeout(self._timeout):
            if self._client is None:
                self._client = await self._connected()
            return self._client.max_payload

    def send(self, batch: Sequence[Encoded]) -> Answer:
        """Publish a batch, and wait until everything is stored."""
        return self._run(partial(self._sent, batch))

    def _run(self, call: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Return the result of a call that speaks with the server.

        :raises TryLater: if the server does not answer.
        """
        import nats.errors

        if self._client is not None and self.monotonic() - self._used_at > IDLE_SECONDS:
            self.close()
        if self._runner is None:
            self._runner = asyncio.Runner()
        try:
            result = self._runner.run(call())
        except TimeoutError as error:
            # nats-server 2.15 repeats the error of the first write that failed, and answers nothing.
            raise TryLater(
                f"no acknowledgement of the batch in {self._timeout:g} s; a nats-server whose disk was full stores "
                "nothing until it is restarted"
            ) from error
        except nats.errors.Error as error:
            raise TryLater(str(error)) from error
        self._used_at = self.monotonic()
        return result

    async def _sent(self, batch: Sequence[Encoded]) -> Answer:
        async with asyncio.timeout(self._timeout):
            if self._client is None:
                self._client = await self._connected()
            stored = asyncio.ensure_future(self._stored(self._client, batch))
            lost = asyncio.ensure_future(self._gone.wait())
            try:
                await asyncio.wait((stored, lost), return_when=asyncio.FIRST_COMPLETED)
                if not stored.done():
                    raise TryLater("the server closed the connection")
                return stored.result()
            finally:
                stored.cancel()
                lost.cancel()

    async def _stored(self, client: Client, batch: Sequence[Encoded]) -> Answer:
        most = client.max_payload
        refused: dict[int, str] = {}
        published: list[_Publish] = []
        self._acks.clear()
        for each in self._messages(batch, most):
            size = _HEADER_BYTES + len(each.id) + len(each.data)
            if size > most:
                refused.update(dict.fromkeys(each.places, f"{size} bytes are more than the server's max_payload"))
                continue
            published.append(each)
            reply = f"{self._inbox}.{len(published)}"
            await client.publish(each.subject, each.data, reply, {"Nats-Msg-Id": each.id})
        while len(self._acks) < len(published):
            self._answered.clear()
            await self._answered.wait()
        later: list[int] = []
        failed = ""
        text = "nothing stored"
        # By name, the streams that are full; filled below.
        full: dict[str, tuple[int, int]] = {}
        for number, each in enumerate(published, start=1):
            ack = self._acks[number]
            error = ack.get("error")
            if error is None and "seq" in ack:
                text = f"stored in the stream {ack['stream']} as number {ack['seq']}"
            elif error is None:
                raise TryLater(
                    f"no stream of the server takes the subject {each.subject}: make one, or change the setting "
                    "subject; or JetStream is off"
                )
            elif error["err_code"] in REFUSED:
                self.was_too_large(len(each.data))
                if len(each.places) > 1:
                    raise Refused(error["description"])
                refused[each.places[0]] = error["description"]
            elif error["err_code"] == NOT_STORED and error["description"].startswith(_FULL):
                stream = ack["stream"]
                if stream not in full:
                    full[stream] = await _room(client, stream)
                size = len(each.subject) + _HEADER_BYTES + len(each.id) + len(each.data) + full[stream][1]
                if size <= full[stream][0]:
                    later += each.places
                    failed = f"the stream {stream} is full: {error['description']}"
                    continue
                # The stream has no room for it when it is empty either.
                self.was_too_large(len(each.data))
                reason = f"{size} bytes are more than max_bytes of the stream {stream}, {full[stream][0]}"
                if len(each.places) > 1:
                    raise Refused(reason)
                refused[each.places[0]] = reason
            else:
                later += each.places
                failed = error["description"]
        return Answer(failed or text, refused, frozenset(later))

    async def _acknowledged(self, message: Msg) -> None:
        """Keep an acknowledgement; that of a message that no stream takes is empty."""
        self._acks[int(message.subject.rpartition(".")[2])] = json.loads(message.data or b"{}")
        self._answered.set()

    def _messages(self, batch: Sequence[Encoded], most: int) -> list[_Publish]:
        if self.format != "records":
            return [
                _Publish(f"{self._subject}.{self.format}.{each.partition}", each.id, each.data, each.places)
                for each in self.grouped(batch, self._partitions, most - _HEADER_BYTES - _ID_BYTES)
            ]
        return [
            _Publish(f"{self._subject}.{each.record.kind}", each.record.id, each.data, [place])
            for place, each in enumerate(batch)
        ]

    async def _connected(self) -> Client:
        """Return a connection to one of the servers.

        :raises TryLater: if none accepts one.
        """
        import nats.errors

        self._gone = gone = asyncio.Event()
        self._answered = asyncio.Event()
        errors: dict[str, None] = {}

        async def closed() -> None:
            gone.set()

        async def failed(error: Exception) -> None:
            errors[_text(error)] = None

        is_tls = self._servers[0].startswith("tls://")
        client = natstls.client(is_tls=is_tls)
        try:
            await client.connect(
                self._servers,
                name=f"netconsd {self.stream_name}",
                allow_reconnect=False,
                # Also of the first connection; 0 is no limit.
                max_reconnect_attempts=1,
                reconnect_time_wait=0,
                connect_timeout=CONNECT_SECONDS,
                tls=self._tls() if is_tls else None,
                user_credentials=None if self._credentials is None else str(self._credentials),
                closed_cb=closed,
                error_cb=failed,
            )
            self._inbox = client.new_inbox()
            # nats-py's publish_async (2.16) never returns most answers with an error: it raises in a callback.
            await client.subscribe(f"{self._inbox}.*", cb=self._acknowledged)
        except (OSError, nats.errors.Error) as error:
            await _closed(client)
            raise TryLater("; ".join(errors) or _text(error)) from error
        return client

    def _tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=None if self._ca_file is None else str(self._ca_file))
        if self._certificate is not None:
            context.load_cert_chain(self._certificate)
        return context

    def close(self) -> None:
        """Close the connection, with everything that was not acknowledged."""
        runner, self._runner = self._runner, None
        client, self._client = self._client, None
        if runner is not None:
            if client is not None:
                runner.run(_closed(client))
            runner.close()


async def _room(client: Client, stream: str) -> tuple[int, int]:
    """Return the bytes of a stream when it is empty, and those of a message besides its subject, header and data.

    Without a limit, and if the server does not say, the room is endless: everything waits.
    """
    import nats.errors

    with suppress(nats.errors.Error, ValueError, KeyError, TypeError):
        answer = await client.request(f"$JS.API.STREAM.INFO.{stream}", b"", timeout=CONNECT_SECONDS)
        config = json.loads(answer.data)["config"]
        if config["max_bytes"] > 0:
            return config["max_bytes"], _STORED_BYTES[config["storage"]]
    return sys.maxsize, 0


async def _closed(client: Client) -> None:
    """Close a connection; a server that hangs is left."""
    import nats.errors

    with suppress(OSError, nats.errors.Error):
        async with asyncio.timeout(CLOSE_SECONDS):
            await client.close()


def _check_server(server: str) -> None:
    try:
        parts = urlsplit(server)
        right = parts.scheme in ("nats", "tls") and parts.hostname and parts.port != 0 and parts.path in ("", "/")
    except ValueError:
        right = False
    if not right:
        raise ValueError(f'servers: "{server.rpartition("@")[2]}" is not a URL such as nats://127.0.0.1:4222')


def _text(error: BaseException) -> str:
    return getattr(error, "description", None) or getattr(error, "strerror", None) or str(error) or type(error).__name__
