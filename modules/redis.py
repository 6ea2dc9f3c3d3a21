"""Sends messages, crash reports and events to a stream of Redis or Valkey (docs/streams).

Each batch is one transaction: it is stored whole, or not at all. Before a batch that may have been stored is sent
again, the end of the stream is searched for its identities.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from netconsd.streams.lines import line
from netconsd.streams.module import Stream
from netconsd.streams.record import Record
from netconsd.streams.sink import Answer, Encoded, TryLater
from netconsd.units import Duration

if TYPE_CHECKING:
    from redis import Redis as Client

TIMEOUT: Final = Duration("30s")
#: About 1 GB in the server's memory.
LENGTH: Final = 1_000_000
#: Entries that are read at once, and at most, in the search for identities: those of a minute at 1700 records a second.
_PAGE: Final = 1000
_SEARCH_LIMIT: Final = 100_000
#: Seconds that clocks differ: a record is not stored before it was received.
_CLOCKS: Final = 60.0


class Redis(Stream):
    """Adds each record as an entry."""

    library = "redis"

    def __init__(
        self,
        *,
        url: str,
        key: str = "netconsd",
        length: int = LENGTH,
        ca_file: Path | None = None,
        timeout: Duration = TIMEOUT,
        **settings: Any,
    ) -> None:
        """
        :param url: the server, as redis://127.0.0.1:6379/0, rediss://USER:PASSWORD@host:6379 or unix:///run/redis.sock.
        :param key: the key of the stream.
        :param length: the entries of the stream beyond which its oldest are removed, read or not.
        :param ca_file: the certificates that are trusted for rediss, instead of the system's.
        :param timeout: how long the server may take for an answer.
        :raises ValueError: if a setting is wrong, with a text that names the setting.
        """
        super().__init__(**settings)
        try:
            parts = urlsplit(url)
            right = parts.path if parts.scheme == "unix" else parts.hostname and parts.port != 0
        except ValueError:
            right = None
        if not right or parts.scheme not in ("redis", "rediss", "unix"):
            raise ValueError(f'url: "{url.rpartition("@")[2]}" is not a URL such as redis://127.0.0.1:6379/0')
        if not key:
            raise ValueError("key: is empty")
        if length < _PAGE:
            raise ValueError(f"length: {length} is less than {_PAGE}")
        if ca_file is not None and parts.scheme != "rediss":
            raise ValueError("ca_file: needs a url that begins with rediss://")
        self._url = url
        self._key = key
        self._length = length
        self._ca_file = ca_file
        self._timeout = float(timeout)
        self._client: Client | None = None

    def encode(self, record: Record) -> bytes:
        """Return a line of JSON without its newline."""
        return line(record)

    def send(self, batch: Sequence[Encoded]) -> Answer:
        """Add a batch."""
        from redis.exceptions import RedisError

        try:
            with self._connected().pipeline(transaction=True) as transaction:
                for each in batch:
                    record = each.record
                    fields: dict[Any, Any] = {
                        "id": record.id,
                        "kind": record.kind,
                        "host": record.address,
                        "record": each.data,
                    }
                    transaction.xadd(self._key, fields, maxlen=self._length, approximate=True)
                stored = transaction.execute()
        except RedisError as error:
            raise TryLater(str(error)) from error
        return Answer(f"stored as {stored[-1].decode()} in {self._key}")

    def stored(self, batch: Sequence[Encoded]) -> frozenset[int]:
        """Search the entries that were added since the oldest record of a batch was received."""
        from redis.exceptions import RedisError

        left = {each.record.id.encode(errors="surrogatepass"): place for place, each in enumerate(batch)}
        found: set[int] = set()
        since = max(0, round((min(each.record.received_at for each in batch) - _CLOCKS) * 1000))
        before = "+"
        try:
            for _ in range(_SEARCH_LIMIT // _PAGE):
                entries: Any = self._connected().xrevrange(self._key, before, str(since), _PAGE)
                for _, fields in entries:
                    place = left.pop(fields.get(b"id", b""), None)
                    if place is not None:
                        found.add(place)
                if len(entries) < _PAGE or not left:
                    break
                before = f"({entries[-1][0].decode()}"
        except RedisError as error:
            raise TryLater(str(error)) from error
        return frozenset(found)

    def _connected(self) -> Client:
        import redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        if self._client is None:
            more = {} if self._ca_file is None else {"ssl_ca_certs": str(self._ca_file)}
            self._client = redis.Redis.from_url(
                self._url,
                socket_timeout=self._timeout,
                socket_connect_timeout=self._timeout,
                # The stream retries, after a search for what was stored.
                retry=Retry(NoBackoff(), 0),
                protocol=2,
                **more,
            )
        return self._client

    def close(self) -> None:
        """Close the connection."""
        client, self._client = self._client, None
        if client is not None:
            client.close()
