"""A receiver in plain Python, the twin of ``_recvmmsg``: one datagram per system call, sorted by lane."""

from __future__ import annotations

import socket
from typing import Any
from zlib import crc32

from netconsd.protocol.allowlist import EVERYONE, AllowList
from netconsd.protocol.message import with_scope, without_scope
from netconsd.protocol.placesize import PLACE_BYTES
from netconsd.receive.sockets import packed_address

# One byte more than the largest UDP datagram, so that none is truncated.
BUFFER_BYTES = 65536
# Reading an address from Python's text costs as much as reading the datagram, so addresses are cached. A stranger can
# forge any number of addresses, so the cache is cleared when it reaches this size.
ADDRESSES_LIMIT = 4096


class Receiver:
    """Reads one socket; every datagram that the kernel handed over is returned or counted as dropped.

    For one thread at a time.
    """

    def __init__(
        self, bound: socket.socket, batch: int, batches: int, lanes: int, allowed: AllowList = EVERYONE
    ) -> None:
        """
        :param bound: a non-blocking UDP socket.
        :param batch: one call reads at most ``batch * batches`` datagrams.
        :param lanes: the number of lanes.
        :param allowed: the addresses whose datagrams are accepted.
        """
        self._socket = bound
        self._allowed = allowed
        self._lanes = lanes
        self._addresses: dict[tuple[str, int] | tuple[str, int, int, int], tuple[int, bytes]] = {}
        # The error of a call that failed after others had read datagrams. The next ``receive`` raises it.
        self._error: Exception | None = None
        self.slots = batch * batches
        # All counters count from the start.
        #: Datagrams that the kernel handed over, and their bytes.
        self.datagrams = 0
        self.received_bytes = 0
        #: Datagrams that were truncated. (No UDP datagram is large enough.)
        self.truncated = 0
        #: Datagrams dropped because their address cannot be parsed.
        self.dropped_bad_address = 0
        #: Datagrams dropped because their address is not allowed.
        self.dropped_not_allowed = 0
        #: Datagrams dropped because sorting them raised an exception, which ``receive`` raised.
        self.dropped_read_error = 0
        #: Bytes of all dropped datagrams.
        self.dropped_bytes = 0
        #: Whether the last call of ``receive`` returned a datagram of ``PLACE_BYTES`` (protocol.placesize) or more.
        self.large = False

    def allow(self, allowed: AllowList) -> None:
        """Accept datagrams of these addresses only, from the next call of :meth:`receive` on."""
        self._allowed = allowed
        # It contains only addresses that were allowed before.
        self._addresses.clear()

    def receive(self) -> list[tuple[list[bytes], list[bytes]]]:
        """Read the waiting datagrams; return a pair of lists for each lane: the senders' keys, and the datagrams.

        :raises OSError: if a system call fails, except because no datagram is waiting. Datagrams that were read before
            the error are returned first, and the next call raises the error.
        :raises MemoryError: if memory is short. The datagrams of the call are then counted in ``dropped_read_error``.
        """
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        received = self._read()
        size = sum([len(datagram) for datagram, _ in received])
        self.datagrams += len(received)
        self.received_bytes += size
        try:
            return self._sort(received, size)
        except Exception:
            self.dropped_read_error += len(received)
            self.dropped_bytes += size
            raise

    def _sort(self, received: list[tuple[bytes, Any]], size: int) -> list[tuple[list[bytes], list[bytes]]]:
        """Sort datagrams by lane, and count the rejected ones; count nothing if it raises."""
        result: list[tuple[list[bytes], list[bytes]]] = [([], []) for _ in range(self._lanes)]
        addresses = self._addresses
        bad_address = not_allowed = 0
        self.large = False
        for datagram, address in received:
            lane_and_key = addresses.get(address)
            if lane_and_key is None:
                packed = packed_address(address[0])
                if packed is None:
                    bad_address += 1
                    continue
                packed = without_scope(packed)
                if not self._allowed.admits(packed):
                    # Not cached, so that strangers evict no allowed sender.
                    not_allowed += 1
                    continue
                lane_and_key = self._remember(address, packed)
            lane, key = lane_and_key
            senders, datagrams = result[lane]
            senders.append(key)
            datagrams.append(datagram)
            if len(datagram) >= PLACE_BYTES:
                self.large = True
        accepted_bytes = sum([len(datagram) for _, datagrams in result for datagram in datagrams])
        self.dropped_bad_address += bad_address
        self.dropped_not_allowed += not_allowed
        self.dropped_bytes += size - accepted_bytes
        return result

    def _read(self) -> list[tuple[bytes, Any]]:
        received: list[tuple[bytes, Any]] = []
        receive = self._socket.recvfrom
        try:
            while len(received) < self.slots:
                received.append(receive(BUFFER_BYTES))
        except BlockingIOError:
            pass
        except Exception as error:
            if not received:
                raise
            # Without its traceback, whose frames would keep all of the datagrams alive.
            self._error = error.with_traceback(None)
        return received

    def _remember(self, address: Any, packed: bytes) -> tuple[int, bytes]:
        if len(self._addresses) >= ADDRESSES_LIMIT:
            self._addresses.clear()
        # An IPv6 socket gives four elements; the last is the number of a link-local sender's interface.
        scope = address[3] if len(address) > 2 else 0
        lane_and_key = crc32(packed) % self._lanes, with_scope(packed, scope) + address[1].to_bytes(2, "big")
        self._addresses[address] = lane_and_key
        return lane_and_key
