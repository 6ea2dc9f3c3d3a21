"""A link between guest and daemon that drops messages and records their numbers."""

from __future__ import annotations

import socket
from random import Random

from netconsd.protocol.decode import Fragment, decode
from netconsd.protocol.message import ExtendedMessage
from netconsd.testing import source
from tests.support.lossy_proxy import LossyProxy


class LossyLink(LossyProxy):
    """Drops all datagrams of a message or none, so that msgid shows the exact number.

    Never drops the first and the last message: no receiver can see a loss before the first or after the last.
    """

    def __init__(self, to_port: int, *, loss: float, seed: int, last: bytes) -> None:
        """
        :param last: a part of the text of the last message.
        """
        super().__init__(to_port, loss=loss, seed=seed)
        #: The source port of the datagrams that the daemon receives.
        self.sends_from: int = self._back.getsockname()[1]
        #: The sequence numbers of the dropped messages.
        self.dropped: set[int] = set()
        self._seed = seed
        self._last = last
        self._first: int | None = None

    def _forward(self, through: socket.socket, datagram: bytes, address: tuple[str, int]) -> None:
        decoded = decode(datagram, source(), 0.0)
        message = decoded.piece if isinstance(decoded, Fragment) else decoded
        assert isinstance(message, ExtendedMessage)
        if self._first is None:
            self._first = message.seq
        # Decided by seq, so that all fragments of a message are dropped or none, and each run drops the same.
        if (
            message.seq != self._first
            and self._last not in datagram
            and Random(self._seed + message.seq).random() < self.loss
        ):
            self.dropped.add(message.seq)
        else:
            through.sendto(datagram, address)
