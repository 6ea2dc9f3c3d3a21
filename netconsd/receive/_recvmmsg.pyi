from socket import socket

from netconsd.protocol.allowlist import AllowList

class Receiver:
    slots: int
    datagrams: int
    received_bytes: int
    truncated: int
    dropped_bad_address: int
    dropped_not_allowed: int
    dropped_read_error: int
    dropped_bytes: int
    large: bool

    def __init__(self, bound: socket, batch: int, batches: int, lanes: int, allowed: AllowList = ...) -> None: ...
    def allow(self, allowed: AllowList) -> None: ...
    def receive(self) -> list[tuple[list[bytes], list[bytes]]]: ...
