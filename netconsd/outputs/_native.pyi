from netconsd.protocol.message import Message

ARENA_BYTES: int

def hand_over(handler: int, worker: int, messages: list[Message], to_monotonic: float) -> int: ...
