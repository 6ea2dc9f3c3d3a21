"""A UDP proxy between processes that loses a share of the datagrams in both directions."""

from __future__ import annotations

import select
import socket
import threading
from contextlib import ExitStack, suppress
from random import Random
from types import TracebackType
from typing import Self

from netconsd.receive.sockets import SO_RCVBUFFORCE


class LossyProxy:
    """Forwards from :attr:`port` of 127.0.0.1 to a receiver's port, and back to the last sender; in a thread."""

    def __init__(self, to_port: int, *, loss: float, seed: int) -> None:
        self.loss = loss
        #: Datagrams that were lost.
        self.lost = 0
        self._random = Random(seed)
        self._to = ("127.0.0.1", to_port)
        self._sender: tuple[str, int] | None = None
        self._stack = ExitStack()
        self._front, self._back, self._wake, self._stop = (
            *(self._stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(2)),
            *map(self._stack.enter_context, socket.socketpair()),
        )
        for each in (self._front, self._back):
            # The kernel drops nothing while this thread waits for the processor: the default holds 256 datagrams.
            with suppress(PermissionError):
                each.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)
            each.bind(("127.0.0.1", 0))
        self.port: int = self._front.getsockname()[1]
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop.send(b"x")
        self._thread.join()
        self._stack.close()

    def _run(self) -> None:
        while True:
            ready, _, _ = select.select([self._front, self._back, self._wake], [], [])
            if self._wake in ready:
                return
            if self._front in ready:
                datagram, self._sender = self._front.recvfrom(65536)
                self._forward(self._back, datagram, self._to)
            if self._back in ready:
                datagram = self._back.recv(65536)
                if self._sender is not None:
                    self._forward(self._front, datagram, self._sender)

    def _forward(self, through: socket.socket, datagram: bytes, address: tuple[str, int]) -> None:
        if self._random.random() < self.loss:
            self.lost += 1
        else:
            through.sendto(datagram, address)
