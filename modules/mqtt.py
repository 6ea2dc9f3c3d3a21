"""Sends messages, crash reports and events to an MQTT 5 server with QoS 1 (docs/streams).

The server acknowledges each message when it has it in memory, and loses some of that if it is killed: the batches of
the last seconds are sent again if the connection is lost. A second copy has the same user property ``id``.
"""

from __future__ import annotations

import re
import ssl
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from netconsd.interfaces import ModuleMetric
from netconsd.streams.lines import line
from netconsd.streams.module import Stream
from netconsd.streams.record import Record
from netconsd.streams.sink import Answer, Encoded, TryLater, reason_of
from netconsd.units import Duration

if TYPE_CHECKING:
    from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags
    from paho.mqtt.properties import Properties
    from paho.mqtt.reasoncodes import ReasonCode

TIMEOUT: Final = Duration("30s")
#: Seconds in which a server delivers a message, or saves it (docs/streams has the settings of Mosquitto for that).
SETTLE_SECONDS: Final = 5.0
#: Seconds between two packets at most, or the server ends the connection after half as much more. ``tick`` is called
#: more often.
KEEPALIVE_SECONDS: Final = 60
#: The most messages without acknowledgement; a server asks for less (Receive Maximum).
WINDOW: Final = 1000
#: Reason codes about one message: topic name invalid, packet too large, payload format invalid (MQTT 5.0, sections
#: 3.4.2.1 and 3.14.2.1). All other errors are about the server or its settings, and have the record wait.
REFUSED: Final = frozenset((0x90, 0x95, 0x99))
#: Batches in a row during which the server ended the connection without a reason, after which one of the messages is
#: the cause: a server that is started again refuses connections, or goes on.
ENDS: Final = 3
#: The reason code of an accepted message that no subscription matched: the server has not kept it.
UNMATCHED: Final = 0x10
#: Characters of a part of a topic that comes from a record: four bytes each, and a topic has at most 65,535 bytes.
PART_LIMIT: Final = 255
TEMPLATE_LIMIT: Final = 200
#: The part of a topic for an empty field, and the character for one that a topic cannot have.
FILLER: Final = "_"
#: Bytes of a message beside its topic, payload and identity.
_OVERHEAD_BYTES: Final = 120
#: Seconds for a batch that the server acknowledges slowly, after which the rest is the next one: a call of HANG_SECONDS
#: ends the process.
BATCH_SECONDS_LIMIT: Final = 240.0
#: Seconds of one wait for the server, so that its end is noticed.
_LOOK_SECONDS: Final = 0.1
_NOT_UNDERSTOOD: Final = "an answer that is not understood, as for a message that is too large"
_FIELDS: Final = re.compile(r"\{(host|name|kind|level)\}")
#: Characters over which a server ends the connection (MQTT 5.0, section 1.5.4): control characters, surrogates and
#: noncharacters.
_FORBIDDEN: Final = (
    "\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef"
    + "".join([f"{chr(plane + 0xFFFE)}{chr(plane + 0xFFFF)}" for plane in range(0, 0x110000, 0x10000)])
)  # fmt: skip
_NO_TEXT: Final = re.compile(f"[{_FORBIDDEN}]")
#: And those that a topic's part cannot have: wildcards and the separator.
_NO_PART: Final = re.compile(f"[{_FORBIDDEN}+#/]")


class _Ended(Exception):
    """The connection ended, or the library does not understand an answer; ``str()`` is the reason."""

    def __init__(self, text: str, *, about_message: bool) -> None:
        super().__init__(text)
        #: Whether one of the messages that were sent last is the cause.
        self.about_message = about_message


@dataclass(slots=True)
class _Sending:
    """The places of a batch by what is known of them."""

    waiting: deque[int]
    #: By the number of the packet.
    flying: dict[int, int] = field(default_factory=dict)
    refused: dict[int, str] = field(default_factory=dict)
    later: set[int] = field(default_factory=set)
    failed: str = ""
    unmatched: int = 0

    def acknowledge(self, number: int, code: int, text: str) -> None:
        """Take the acknowledgement of a packet."""
        place = self.flying.pop(number, None)
        if place is None:
            return
        if code in REFUSED:
            self.refused[place] = text
        elif code >= 0x80:
            # The messages after it would be before it.
            self.later.update((place, *self.waiting))
            self.waiting.clear()
            self.failed = text
        elif code == UNMATCHED:
            self.unmatched += 1

    def answer(self) -> Answer:
        """Return the answer to the batch."""
        text = "acknowledged; no subscription matches" if self.unmatched else "acknowledged"
        return Answer(self.failed or text, self.refused, frozenset((*self.later, *self.waiting)))


class Mqtt(Stream):
    """Publishes each record under the topic of its machine, and waits for the acknowledgements."""

    library = "paho"
    settle = SETTLE_SECONDS

    def __init__(
        self,
        *,
        url: str,
        topic: str = "netconsd/{host}/{kind}",
        user: str = "",
        password_file: Path | None = None,
        client_id: str = "",
        expiry: Duration | None = None,
        ca_file: Path | None = None,
        certificate: Path | None = None,
        timeout: Duration = TIMEOUT,
        **settings: Any,
    ) -> None:
        """
        :param url: the server, as mqtt://127.0.0.1:1883, or with TLS mqtts://HOST:8883.
        :param topic: the topics, with {host}, {name}, {kind} and {level} for the record's.
        :param user: the name of the user.
        :param password_file: the file with the user's password.
        :param client_id: the name of this client for the server; by default the server gives it one.
        :param expiry: how long the server keeps a message for subscribers that are away; by default without a limit.
        :param ca_file: the certificates that are trusted for mqtts, instead of the system's.
        :param certificate: the key and the certificate that the server asks for, in one file.
        :param timeout: how long the server may acknowledge nothing.
        :raises ValueError: if a setting is wrong, with a text that names the setting.
        """
        super().__init__(**settings)
        self._address, self._secure = _address(url)
        _check_topic(topic)
        if password_file is not None and not user:
            raise ValueError("password_file: needs user")
        for name, text in (("user", user), ("client_id", client_id)):
            if _NO_TEXT.search(text) or len(text) > PART_LIMIT:
                raise ValueError(f"{name}: has a control character, or more than {PART_LIMIT} characters")
        if expiry is not None and not 1 <= expiry < 1 << 32:
            raise ValueError(f"expiry: {expiry} is not from 1s to 4294967295s")
        for name, path in (("ca_file", ca_file), ("certificate", certificate)):
            if path is not None and not self._secure:
                raise ValueError(f"{name}: needs a url that begins with mqtts://")
        if not 0.1 <= timeout <= 300:
            # A call of HANG_SECONDS ends the process.
            raise ValueError(f"timeout: {timeout} is not from 0.1s to 300s")
        self._topic = topic
        self._user = user
        self._password_file = password_file
        self._client_id = client_id
        self._expiry = None if expiry is None else int(expiry)
        self._ca_file = ca_file
        self._certificate = certificate
        self._timeout = float(timeout)
        self._client: Client | None = None
        self._sending = _Sending(deque())
        # The answer to the connection: its reason code and text.
        self._welcome: list[tuple[int, str]] = []
        # The server's reason for the end of the connection.
        self._ended: _Ended | None = None
        # Batches in a row during which the server ended the connection without a reason.
        self._ends = 0
        # Limits of the server.
        self._window = WINDOW
        self._packet_bytes = 0
        # Whether messages were sent over this connection; whether one was lost, over which some were.
        self._used = False
        self._broken = False
        # Whether the next `close` is before another attempt: a connection that stays open shows that the server does.
        self._stays = False
        self.numbers = {"unmatched": 0}
        self.monotonic: Callable[[], float] = time.monotonic

    def metrics(self) -> list[ModuleMetric]:
        """Return the numbers of the stream, and of the records that nobody gets."""
        unmatched = self.counted("unmatched")
        return [
            *super().metrics(),
            ModuleMetric("mqtt_unmatched_records", "Records that no subscription matched.", unmatched, counter=True),
        ]

    def encode(self, record: Record) -> bytes:
        """Return a line of JSON without its newline."""
        return line(record)

    def topic_of(self, record: Record) -> str:
        """Return the topic of a record."""
        values = {
            "host": record.address,
            "name": record.name or record.address,
            "kind": record.kind,
            "level": str(record.level),
        }
        topic = _FIELDS.sub(lambda match: _NO_PART.sub(FILLER, values[match[1]][:PART_LIMIT]) or FILLER, self._topic)
        # Topics with $ are the server's own: no wildcard finds them.
        return FILLER + topic[1:] if topic.startswith("$") else topic

    def send(self, batch: Sequence[Encoded]) -> Answer:
        """Publish a batch, and wait for the acknowledgements."""
        now = self.monotonic()
        stop = now + BATCH_SECONDS_LIMIT
        end = now + self._timeout
        left = -1
        sending = self._sending = _Sending(deque(range(len(batch))))
        # Messages that are sent alone, as one of them ended the connection.
        alone = 0
        while sending.waiting or sending.flying:
            now = self.monotonic()
            if now >= stop and sending.waiting:
                sending.failed = f"a batch takes more than {BATCH_SECONDS_LIMIT:g} s"
                sending.later.update(sending.waiting)
                sending.waiting.clear()
            if left != (left := len(sending.waiting) + len(sending.flying)):
                # A line of a second with a window of 20 is slow, and does not hang.
                end = now + self._timeout
            try:
                client = self._client or self._opened(end)
                while sending.waiting and len(sending.flying) < (1 if alone else self._window):
                    self._publish(client, batch, sending)
                    if alone:
                        alone -= 1
                        break
                if sending.flying:
                    self._turn(client, end)
            except _Ended as error:
                flying = sorted(sending.flying.values())
                sending.flying.clear()
                if not flying or not (error.about_message or self._ends >= ENDS):
                    self._ends += bool(flying)
                    self._lose()
                    raise TryLater(str(error)) from error
                if error.about_message:
                    # The server is there, and has what it acknowledged.
                    self._forget()
                else:
                    self._lose()
                if len(flying) == 1:
                    sending.refused[flying[0]] = str(error)
                else:
                    # One of them is the cause: each is sent alone.
                    alone = len(flying)
                    sending.waiting.extendleft(reversed(flying))
        self._ends = 0
        self._stays = bool(sending.later)
        self.numbers = {"unmatched": self.numbers["unmatched"] + sending.unmatched}
        return sending.answer()

    def _publish(self, client: Client, batch: Sequence[Encoded], sending: _Sending) -> None:
        """Publish the next record."""
        from paho.mqtt.packettypes import PacketTypes
        from paho.mqtt.properties import Properties

        place = sending.waiting.popleft()
        record, data = batch[place]
        topic = self.topic_of(record)
        identity = _NO_TEXT.sub(FILLER, record.id)
        size = _OVERHEAD_BYTES + len(topic.encode()) + len(identity.encode()) + len(data)
        if self._packet_bytes and size > self._packet_bytes:
            sending.refused[place] = f"{size} bytes are more than the server's Maximum Packet Size"
            return
        properties: Any = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        properties.PayloadFormatIndicator = 1
        properties.ContentType = "application/json"
        properties.UserProperty = [("id", identity), ("kind", record.kind)]
        if self._expiry is not None:
            properties.MessageExpiryInterval = self._expiry
        self._used = True
        sending.flying[client.publish(topic, data, qos=1, retain=False, properties=properties).mid] = place

    def _turn(self, client: Client, end: float) -> None:
        """Read and write once, and call the methods below.

        :raises _Ended: if the connection ended.
        :raises TryLater: after the time.
        """
        from paho.mqtt.enums import MQTTErrorCode

        if self.monotonic() >= end:
            raise TryLater(f"no acknowledgement in {self._timeout:g} s")
        try:
            code = client.loop(_LOOK_SECONDS)
        except Exception as error:
            # Older versions of the library fail at a code that they do not know for the packet.
            raise _Ended(f"{_NOT_UNDERSTOOD} ({type(error).__name__}: {error})", about_message=True) from error
        if code == MQTTErrorCode.MQTT_ERR_PROTOCOL:
            raise _Ended(_NOT_UNDERSTOOD, about_message=True)
        if self._ended is not None:
            raise self._ended
        if code:
            raise _Ended("the server closed the connection", about_message=False)

    def _on_connect(
        self, client: Client, data: object, flags: ConnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        self._welcome = [(reason.value, _text(reason, properties))]
        self._window = min(WINDOW, getattr(properties, "ReceiveMaximum", WINDOW))
        self._packet_bytes = getattr(properties, "MaximumPacketSize", 0)
        if getattr(properties, "MaximumQoS", 1) < 1:
            self._welcome = [(0x9B, "the server has no QoS 1")]

    def _on_publish(
        self, client: Client, data: object, number: int, reason: ReasonCode, properties: Properties
    ) -> None:
        self._sending.acknowledge(number, reason.value, _text(reason, properties))

    def _on_disconnect(
        self, client: Client, data: object, flags: DisconnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        if flags.is_disconnect_packet_from_server:
            text = f"the server closed the connection: {_text(reason, properties)}"
            self._ended = _Ended(text, about_message=reason.value in REFUSED)

    def _opened(self, end: float) -> Client:
        """Connect.

        :raises TryLater: if the server does not answer, or refuses the connection.
        """
        from paho.mqtt.client import Client, MQTTv5
        from paho.mqtt.enums import CallbackAPIVersion

        _know_too_large()
        host, port = self._address
        client = Client(CallbackAPIVersion.VERSION2, self._client_id, protocol=MQTTv5, reconnect_on_failure=False)
        client.on_connect = self._on_connect
        client.on_publish = self._on_publish
        client.on_disconnect = self._on_disconnect
        # This has a window of its own.
        client.max_inflight_messages_set(65_535)
        client.connect_timeout = self._timeout
        self._welcome.clear()
        self._ended = None
        try:
            if self._user:
                password = None
                if self._password_file is not None:
                    password = self._password_file.read_text().rstrip("\r\n")
                client.username_pw_set(self._user, password)
            if self._secure:
                context = ssl.create_default_context(cafile=None if self._ca_file is None else str(self._ca_file))
                if self._certificate is not None:
                    context.load_cert_chain(self._certificate)
                client.tls_set_context(context)
            client.connect(host, port, KEEPALIVE_SECONDS)
            self._client = client
            while not self._welcome:
                self._turn(client, end)
        except (OSError, ValueError, _Ended, TryLater) as error:
            self._lose()
            # A refusal ends the connection as well.
            if not self._welcome:
                raise TryLater(f"{host} port {port}: {reason_of(error)}") from error
        code, text = self._welcome[0]
        if code >= 0x80:
            self._lose()
            raise TryLater(f"{host} port {port} refuses the connection: {text}")
        self._used = False
        return client

    def tick(self) -> None:
        """Send the server a ping when it is time, and notice the end of the connection."""
        client = self._client
        if client is not None and (client.loop(0.0) or self._ended is not None):
            self._lose()

    def survived(self) -> bool:
        """Return false if a connection was lost since the last call."""
        self.tick()
        lost, self._broken = self._broken, False
        return not lost

    def kept(self) -> bool:
        """Return whether the server has all that it acknowledged."""
        return self.survived()

    def _lose(self) -> None:
        """Forget a connection that is lost."""
        self._forget()
        self._broken = self._broken or self._used
        self._used = False

    def _forget(self) -> None:
        client, self._client = self._client, None
        connection: Any = None if client is None else client.socket()
        if connection is not None:
            connection.close()

    def close(self) -> None:
        """Close the connection, in order if nothing is to be acknowledged."""
        client = self._client
        if client is None:
            return
        if self._sending.flying:
            self._lose()
        elif self._stays:
            self._stays = False
        else:
            self._client = None
            client.disconnect()


def _know_too_large() -> None:
    """Have the library understand that a PUBACK has the code 0x95, as Mosquitto's for a message over
    message_size_limit. MQTT has it for other packets only, and the library would end the connection."""
    from paho.mqtt.packettypes import PacketTypes
    from paho.mqtt.reasoncodes import ReasonCode

    for packets in ReasonCode.names.get(0x95, {}).values():
        if PacketTypes.PUBACK not in packets:
            packets.append(PacketTypes.PUBACK)


def _text(reason: ReasonCode, properties: Properties | None) -> str:
    """Return a reason code for people, with the server's own words."""
    words = getattr(properties, "ReasonString", "")
    return f"{reason.value:#04x} {reason}{': ' if words else ''}{words}"


def _address(url: str) -> tuple[tuple[str, int], bool]:
    """Return the host and the port of a URL, and whether it is for TLS.

    :raises ValueError: if it is none.
    """
    shown = url.rpartition("@")[2]
    try:
        parts = urlsplit(url)
        port = parts.port
        right = parts.scheme in ("mqtt", "mqtts") and parts.path in ("", "/") and not parts.query and port != 0
    except ValueError:
        right = False
    if not right or not parts.hostname:
        raise ValueError(f'url: "{shown}" is not a URL such as mqtt://127.0.0.1:1883')
    if "@" in parts.netloc:
        raise ValueError("url: write the user and the password as user and password_file")
    secure = parts.scheme == "mqtts"
    return (parts.hostname, port or (8883 if secure else 1883)), secure


def _check_topic(topic: str) -> None:
    """
    :raises ValueError: if no topics can be made of it.
    """
    rest = _FIELDS.sub("", topic)
    if "{" in rest or "}" in rest:
        raise ValueError(f'topic: "{topic}" has other fields than {{host}}, {{name}}, {{kind}} and {{level}}')
    if not topic or len(topic) > TEMPLATE_LIMIT or _NO_PART.search(rest.replace("/", "")) or topic.startswith("$"):
        raise ValueError(
            f'topic: "{topic}" is not up to {TEMPLATE_LIMIT} characters without "+", "#" and a "$" at its beginning'
        )
