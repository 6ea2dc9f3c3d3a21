"""A link between guest and daemon that loses messages, and says which."""

from __future__ import annotations

import socket
from random import Random

from netconsd.protocol.decode import Fragment, decode
from netconsd.protocol.message import ExtendedMessage
from netconsd.testing import source
from tests.support.lossy_proxy import LossyProxy


class LossyLink(LossyProxy):
    """Loses all datagrams of a message or none, so that what msgid tells is exact; the first and the last it spares,
    because beyond them nobody can know of a loss."""

    def __init__(self, to_port: int, *, loss: float, seed: int, last: bytes) -> None:
        """
        :param last: what the text of the last message holds.
        """
        super().__init__(to_port, loss=loss, seed=seed)
        #: Where the daemon sees it all come from.
        self.sends_from: int = self._back.getsockname()[1]
        #: The sequence numbers of what was lost.
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
        # By its number, so that all pieces of a message have one fate, and each run loses the same.
        if (
            message.seq != self._first
            and self._last not in datagram
            and Random(self._seed + message.seq).random() < self.loss
        ):
            self.dropped.add(message.seq)
        else:
            through.sendto(datagram, address)
