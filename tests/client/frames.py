"""netconsole's parameter as a kernel reads it, and the Ethernet frame that it sends."""

from __future__ import annotations

import re
import struct
from ipaddress import ip_address
from typing import NamedTuple

UDP = 17
PARAMETER = re.compile(
    r"netconsole=(?P<options>\+?r?)(?P<source_port>\d+)@(?P<source>[^/]+)/(?P<interface>[^,]+)"
    r",(?P<port>\d+)@(?P<target>[^/]+)/(?P<mac>[0-9a-f]{2}(?::[0-9a-f]{2}){5})"
)


class Parameter(NamedTuple):
    """netconsole's module parameter (docs/clients), complete."""

    options: str
    source_port: int
    source: str
    interface: str
    port: int
    target: str
    mac: str

    @classmethod
    def parse(cls, text: str) -> Parameter:
        """The parts of a parameter.

        :raises AssertionError: if a part is invalid or missing.
        """
        match = PARAMETER.fullmatch(text)
        assert match, f"not a parameter: {text!r}"
        parts = match.groupdict()
        return cls(
            **{name: int(part) if name.endswith("port") else part for name, part in parts.items()}  # type: ignore[arg-type]
        )

    def frame(self, interface_mac: str, payload: bytes) -> bytes:
        """The frame that the kernel's netpoll builds for a payload, without routing and ARP."""
        source, target = ip_address(self.source), ip_address(self.target)
        assert source.version == target.version
        length = 8 + len(payload)
        ports = struct.pack("!HHH", self.source_port, self.port, length)
        pseudo = source.packed + target.packed + struct.pack("!II", length, UDP)
        udp = ports + struct.pack("!H", _checksum(pseudo + ports + b"\0\0" + payload) or 0xFFFF) + payload
        if source.version == 4:
            kind = 0x0800
            head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + length, 0, 0, 64, UDP, 0) + source.packed + target.packed
            head = head[:10] + struct.pack("!H", _checksum(head)) + head[12:]
        else:
            kind = 0x86DD
            head = struct.pack("!IHBB", 6 << 28, length, UDP, 64) + source.packed + target.packed
        ethernet = _mac(self.mac) + _mac(interface_mac) + struct.pack("!H", kind)
        return ethernet + head + udp


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def _checksum(data: bytes) -> int:
    """RFC 1071."""
    data += bytes(len(data) % 2)
    total: int = sum(word for (word,) in struct.iter_unpack("!H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
