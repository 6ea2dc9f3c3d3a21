"""What ``_recvmmsg`` does, in plain Python: one datagram per system call, sorted by lane."""

from __future__ import annotations

import socket
from zlib import crc32

from netconsd.protocol.allowlist import EVERYONE, AllowList
from netconsd.protocol.message import MAPPED_IPV4

# One more than the largest UDP datagram, so that none is cut off unseen.
_SIZE = 65536
# netconsd.receive.lanes.PLACE_BYTES.
_LARGE = 1024
# Reading an address that Python has written costs as much as reading the datagram. A stranger can have as many
# addresses as he likes, so they are forgotten now and then.
ADDRESSES_LIMIT = 4096


class Receiver:
    """Reads one socket. For one thread at a time."""

    __slots__ = (
        *("_addresses", "_allowed", "_error", "_lanes", "_socket"),
        *(
            "datagrams",
            "dropped_not_allowed",
            "dropped_no_memory",
            "large",
            "octets",
            "dropped_bad_address",
            "dropped_bytes",
            "slots",
            "truncated",
        ),
    )

    def __init__(
        self, bound: socket.socket, batch: int, batches: int, lanes: int, allowed: AllowList = EVERYONE
    ) -> None:
        """
        :param bound: a non-blocking UDP socket.
        :param batch: as many datagrams, times ``batches``, are read at a time.
        :param lanes: how many lanes there are.
        :param allowed: whose datagrams are taken.
        """
        self._socket = bound
        self._allowed = allowed
        self._lanes = lanes
        self._addresses: dict[tuple[str, int], tuple[int, bytes]] = {}
        # What the system said after some datagrams had been read.
        self._error: Exception | None = None
        self.slots = batch * batches
        #: Datagrams that the kernel has handed over since the start, and their bytes.
        self.datagrams = 0
        self.octets = 0
        #: Datagrams that were cut off, since the start. (No UDP datagram is large enough.)
        self.truncated = 0
        #: Datagrams from an address that cannot be read, since the start; they are dropped.
        self.dropped_bad_address = 0
        #: Datagrams from an address that is not allowed, since the start; they are dropped.
        self.dropped_not_allowed = 0
        #: Datagrams that were given up because of an exception (there was no memory for them), since the start.
        self.dropped_no_memory = 0
        #: Bytes of those refused, denied or discarded.
        self.dropped_bytes = 0
        #: Whether the last call of ``receive`` brought a datagram of ``PLACE_BYTES`` (netconsd.receive.lanes) or more.
        self.large = False

    def receive(self) -> list[tuple[list[bytes], list[bytes]]]:
        """Read what is there, and return a pair of lists for each lane: the senders' keys, and the datagrams.

        :raises OSError: if the system refuses to read, other than because there is nothing. What came before is
            returned first, and the error is raised by the next call.
        :raises MemoryError: if there is no memory for what was read; it is discarded, and counted.
        """
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        result: list[tuple[list[bytes], list[bytes]]] = [([], []) for _ in range(self._lanes)]
        addresses = self._addresses
        found = self._read()
        octets = sum([len(datagram) for datagram, _ in found])
        rejected = self.dropped_bad_address + self.dropped_not_allowed
        self.large = False
        # Together, so that nothing is counted if there is no memory for the sums.
        self.datagrams, self.octets = self.datagrams + len(found), self.octets + octets
        try:
            for datagram, address in found:
                known = addresses.get(address) or self._read_address(address)
                if known is None:
                    continue
                lane, key = known
                senders, datagrams = result[lane]
                senders.append(key)
                datagrams.append(datagram)
                if len(datagram) >= _LARGE:
                    self.large = True
            taken = sum([len(datagram) for _, datagrams in result for datagram in datagrams])
            self.dropped_bytes += octets - taken
        except Exception:
            self.dropped_no_memory += rejected + len(found) - self.dropped_bad_address - self.dropped_not_allowed
            self.dropped_bytes += octets
            raise
        return result

    def _read(self) -> list[tuple[bytes, tuple[str, int]]]:
        found: list[tuple[bytes, tuple[str, int]]] = []
        receive = self._socket.recvfrom
        try:
            while len(found) < self.slots:
                found.append(receive(_SIZE))
        except BlockingIOError:
            pass
        except Exception as error:
            if not found:
                raise
            # Without what it was raised in: that would keep all of the datagrams.
            self._error = error.with_traceback(None)
        return found

    def _read_address(self, address: tuple[str, int]) -> tuple[int, bytes] | None:
        host, port = address[:2]
        try:
            if ":" in host:
                packed = socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
            else:
                packed = MAPPED_IPV4 + socket.inet_pton(socket.AF_INET, host)
        except (OSError, ValueError):
            self.dropped_bad_address += 1
            return None
        if not self._allowed.admits(packed):
            # Not remembered, so that strangers push out nobody.
            self.dropped_not_allowed += 1
            return None
        if len(self._addresses) >= ADDRESSES_LIMIT:
            self._addresses.clear()
        known = crc32(packed) % self._lanes, packed + port.to_bytes(2, "big")
        self._addresses[address] = known
        return known
