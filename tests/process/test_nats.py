"""The client of NATS: what it makes of the numbers that the server gives to deliveries. No server."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import Any

import pytest

from netconsd.process.address import parse
from netconsd.process.client import LEAVE_SECONDS
from netconsd.process.natsclient import PENDING_LIMIT, NatsClient, _advised, _matches
from netconsd.process.sharing import GONE_SECONDS, shares

pytest.importorskip("nats", reason="needs nats-py: pip install 'netconsd[nats]'")


class Intake:
    """Notes its calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int]] = []
        self.wake = lambda: None

    @property
    def partitions(self) -> list[int]:
        return [number for name, number in self.calls if name == "begin"]

    def is_full(self, number: int) -> bool:
        return False

    def is_idle(self, number: int) -> bool:
        return True

    def __getattr__(self, name: str) -> Any:
        return lambda number, *rest, **more: self.calls.append((name, number))

    def tokens(self, number: int) -> list[Any]:
        return []


def delivery(consumer: int, stream: int, pin: str = "pin", times: int = 1) -> Any:
    """A message of partition 0, as nats-py has it."""
    sequence = SimpleNamespace(consumer=consumer, stream=stream)
    return SimpleNamespace(
        subject="inbox.0",
        headers={"Nats-Pin-Id": pin},
        metadata=SimpleNamespace(sequence=sequence, num_delivered=times),
        reply=f"ack.{consumer}",
        data=b"",
    )


def client(intake: Any, **options: Any) -> NatsClient:
    """A client that takes partition 0."""
    made = NatsClient(
        intake, parse("nats://127.0.0.1/logs"), "g", subject="netconsd", partitions=1, properties={}, **options
    )
    asyncio.run(made._divide(SimpleNamespace(), 0.0))  # type: ignore[arg-type]
    return made


@pytest.mark.parametrize(("consumer", "interrupted"), [(8, False), (9, True)])
def test_deliveries_to_another_one(consumer: int, interrupted: bool) -> None:
    """A gap in the numbers of deliveries is a takeover; what was held from before it is not taken."""
    intake = Intake()
    one = client(intake)
    asyncio.run(one._received(delivery(7, 70)))
    asyncio.run(one._received(delivery(consumer, 90, "other pin")))
    assert (("interrupted", 0) in intake.calls) is interrupted
    assert list(one._taken[0].held or {}) == ([90] if interrupted else [70, 90])


@pytest.mark.parametrize(
    ("away", "others", "interrupted"), [(3.0, True, False), (4.0, True, True), (4.0, False, False)]
)
def test_away_from_the_server(away: float, others: bool, interrupted: bool) -> None:
    """After a time without the server in which others could take over, the partitions are taken over."""
    intake = Intake()
    now = [100.0]
    one = client(intake, clock=lambda: now[0])
    one._disconnected()
    now[0] += away
    if others:
        one._members.heard("other", now[0])
        # A name with which the only partition is still this one's.
        names = (f"own {number}" for number in range(100))
        one._name = one._members._own = next(name for name in names if shares([name, "other"], 1)[name])
    asyncio.run(one._divide(SimpleNamespace(), now[0]))  # type: ignore[arg-type]
    assert (("interrupted", 0) in intake.calls) is interrupted


@pytest.mark.parametrize(("before", "pending", "is_taken"), [([5, 6], 3, True), ([6], 3, False), ([5, 6], 4, False)])
def test_held_under_load(before: list[int], pending: int, is_taken: bool) -> None:
    """What came while the server was asked counts if the server had delivered it when it answered, and only then."""
    intake = Intake()
    one = client(intake)
    for number in before:
        asyncio.run(one._received(delivery(number, 50 + number)))

    async def asked(*_: object) -> dict[str, Any]:
        await one._received(delivery(7, 57))
        await one._received(delivery(8, 58))
        return {"num_ack_pending": pending, "delivered": {"consumer_seq": 7}}

    one._ask = asked  # type: ignore[method-assign, assignment]
    asyncio.run(one._look_at_held(SimpleNamespace(), one._taken[0], 1.0))  # type: ignore[arg-type]
    assert (("take", 0) in intake.calls) is is_taken


@pytest.mark.parametrize("has_messages", [False, True])
def test_given_away(has_messages: bool) -> None:
    """A request that the server still has is withdrawn before the pin: its answer would pin the partition again."""
    intake = Intake()
    one = client(intake)
    done: list[str] = []

    async def withdrawn() -> None:
        done.append("unsubscribe")

    async def published(subject: str, *_: object) -> None:
        done.append(subject.split(".")[3])

    async def subscribed(*_: object, **__: object) -> Any:
        return SimpleNamespace(unsubscribe=withdrawn)

    connection: Any = SimpleNamespace(publish=published, subscribe=subscribed, max_payload=1)
    taken = one._taken[0]
    asyncio.run(one._pull(connection, taken, 1.0))
    taken.leaving_since = 1.0
    if has_messages:
        # It came for the request, and is the first to tell the pin.
        message = delivery(7, 70)

        async def refused() -> None:
            pass

        message.nak = refused
        asyncio.run(one._received(message))
    asyncio.run(one._leave(connection, taken, 1.0 + LEAVE_SECONDS))
    assert done == ["MSG", "unsubscribe", *(["UNPIN"] if has_messages else [])]


def test_a_wrong_password() -> None:
    """The server's two words do not say where netconsd has the password; other errors stay as they are."""
    assert _advised("nats: 'Authorization Violation'").endswith("into the file of --broker-config")
    assert _advised("Connection refused") == "Connection refused"


@pytest.mark.parametrize(
    ("pattern", "is_in"),
    [
        *(("netconsd.>", True), ("netconsd.blocks.*", True), ("netconsd.blocks.3", True), ("*.*.*", True), (">", True)),
        *(("netconsd.blocks.3.>", False), ("netconsd.*", False), ("netconsd.lines.*", False), ("netconsd", False)),
    ],
)
def test_patterns(pattern: str, is_in: bool) -> None:
    """The patterns of a stream's subjects are those of NATS."""
    assert _matches(pattern, "netconsd.blocks.3") is is_in


def test_another_number_of_partitions() -> None:
    """A processor of the group with other partitions is a fault while it lives, and is logged once."""
    now = [100.0]
    one = client(Intake(), clock=lambda: now[0])
    logged: list[str] = []
    one._log = SimpleNamespace(warn=lambda form, **values: logged.append(form.format(**values)))  # type: ignore[assignment]
    for _ in range(3):
        now[0] += 1
        beat = SimpleNamespace(data=b'{"name": "other", "is": "here", "partitions": 8}')
        asyncio.run(one._beaten(beat))  # type: ignore[arg-type]
    assert one.faults() == logged
    assert "processor other of the same group has --partitions 8, this one 1" in logged[0]
    now[0] += GONE_SECONDS
    assert one.faults() == []


def test_delivered_before() -> None:
    """A message that was delivered before may have been processed, unless its processor said that it gave it back."""
    one = client(Intake())
    returned = b'{"name": "other", "is": "giving back", "partitions": 1, "partition": 0, "messages": [[71, 1]]}'
    asyncio.run(one._beaten(SimpleNamespace(data=returned)))  # type: ignore[arg-type]
    found = [one._token(0, delivery(7, stream, times=times)).again for stream, times in [(70, 2), (71, 2), (72, 1)]]
    assert found == [True, False, False]
    # Whoever got it after that may have processed it.
    assert one._token(0, delivery(8, 71, times=3)).again


def test_given_back_to_the_group() -> None:
    """What is given back is told to the group, before the server delivers it again, except what was another's."""
    intake = Intake()
    one = client(intake)
    one._returned[0] = {70: 4}
    for stream, times in [(70, 5), (71, 1), (72, 2)]:
        asyncio.run(one._received(delivery(stream - 60, stream, times=times)))
    one._taken[0].delivered = 0
    published: list[Any] = []

    async def publish(subject: str, data: bytes) -> None:
        published.append(data if data == b"-NAK" else json.loads(data))

    one._stopping.set()
    intake.leave = lambda number: []  # type: ignore[attr-defined]
    asyncio.run(one._divide(SimpleNamespace(publish=publish), 0.0))  # type: ignore[arg-type]
    assert published[0]["messages"] == [[70, 5], [71, 1]]
    assert published[1:] == [b"-NAK"] * 3


@pytest.mark.parametrize(
    "messages", ["x", [[1, "x"]], None, [[7]], [None], [[float("inf"), 1]], [[seq, 1] for seq in range(9999)]]
)
def test_wrong_words_of_others(messages: object) -> None:
    """Anyone who may publish can write what it gives back: nothing of that raises, or grows without bound."""
    one = client(Intake())
    for partition in (0, 0, 1, -1, "x"):
        beat = {"name": "x", "is": "giving back", "partitions": 1, "partition": partition, "messages": messages}
        asyncio.run(one._beaten(SimpleNamespace(data=json.dumps(beat).encode())))  # type: ignore[arg-type]
    assert sum(map(len, one._returned.values())) <= 2 * PENDING_LIMIT
