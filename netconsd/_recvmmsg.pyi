from socket import socket

SLOT: int

class Receiver:
    fd: int
    slots: int
    octets: int
    truncated: int
    refused: int
    large: bool

    def __init__(self, bound: socket, batch: int, batches: int, lanes: int) -> None: ...
    def receive(self) -> list[tuple[list[bytes], list[bytes]]]: ...
