"""``netconsd console`` as a process, for tests that go the whole way."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from tests.support.scripted_lane import PATIENCE


class Running:
    """The daemon with its console on free ports."""

    def __init__(self, store: Path, log: Path, *options: str) -> None:
        self.store = store
        self.log = log
        with log.open("wb") as stderr:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "netconsd", "console", "--store", str(store), "--listen", "127.0.0.1:0"),
                    *("--port", "0", "--address", "127.0.0.1", "--quiet", *options),
                ],
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                env={**os.environ, "PYTHONPATH": os.getcwd()},
            )  # fmt: skip
        try:
            found = self.until(lambda: re.search(r"(?s)http://127\.0\.0\.1:(\d+)/.*UDP port (\d+)", log.read_text()))
        except BaseException:
            # Otherwise a later test fails: the process still runs when this object is freed.
            self.stop()
            raise
        self.http, self.udp = int(found[1]), int(found[2])

    def until(self, condition: Any) -> Any:
        """Return the first true value of a condition."""
        deadline = time.monotonic() + PATIENCE
        while not (value := condition()):
            assert time.monotonic() < deadline, f"waited {PATIENCE} s\n{self.log.read_text()}"
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.02)
        return value

    def get(self, path: str, **headers: str) -> Any:
        """Return the object of a path."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.http}/api/v1/{path}", headers=headers)
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:
            data = response.read()
        return json.loads(data)

    def texts(self, query: str = "") -> list[str]:
        """Return the texts of stored messages."""
        url = f"http://127.0.0.1:{self.http}/api/v1/messages?limit=10000&order=oldest&{query}"
        with urllib.request.urlopen(url, timeout=PATIENCE) as response:
            lines = [json.loads(line) for line in response]
        assert lines[-1]["end"]["complete"]
        return [line["message"]["text"] for line in lines if "message" in line]

    def send(self, datagrams: Sequence[bytes]) -> None:
        """Send datagrams from one port."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.connect(("127.0.0.1", self.udp))
            for datagram in datagrams:
                sender.send(datagram)

    def children(self) -> list[int]:
        """Return the processes of the daemon."""
        pid = self.process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def stop(self) -> None:
        """Stop it as a service manager does."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(PATIENCE)
        finally:
            self.process.kill()
            self.process.wait()


class Events:
    """A live tail as a browser reads it."""

    def __init__(self, port: int, path: str, last_id: str = "") -> None:
        self._port = port
        self._path = path
        self.last_id = last_id
        self._open()

    def _open(self) -> None:
        self._connection = HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE)
        headers = {"Last-Event-ID": self.last_id} if self.last_id else {}
        self._connection.request("GET", f"/api/v1/live{self._path}", headers=headers)
        self._response = self._connection.getresponse()
        assert self._response.status == 200

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        """Yield (event, data)."""
        kind = ""
        while True:
            line = self._response.readline().decode()
            if not line:
                # As a browser does when the response ends.
                self.close()
                self._open()
                continue
            line = line.rstrip("\n")
            name, _, value = line.partition(": ")
            if name == "event":
                kind = value
            elif name == "id":
                self.last_id = value
            elif name == "data":
                yield kind, json.loads(value)

    def take(self, count: int) -> list[str]:
        """Return the texts of the next messages."""
        found: list[str] = []
        for kind, data in self:
            assert kind != "dropped", data
            if kind == "message":
                found.append(data["text"])
                if len(found) == count:
                    break
        return found

    def close(self) -> None:
        """Close the connection."""
        self._response.close()
        self._connection.close()
