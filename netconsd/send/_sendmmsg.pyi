from socket import socket

class DatagramSender:
    def __init__(
        self, socket: socket, family: int, address: bytes, port: int, scope: int = 0, with_source: bool = False
    ) -> None: ...
    def send(self, datagrams: list[bytes], sources: list[int], start: int = 0) -> int: ...
