"""The text of an acknowledgement: the answer to a sender of the reliable variant (docs/wire section 7)."""

from __future__ import annotations

from netconsd.protocol.stream import Stream
from netconsd.protocol.window import ABSENT

# The length of a kernel's datagram; the answer to a forged datagram is not longer. A missing seq takes at least two
# bytes, which bounds the time that a forged gap of 2^64 records costs.
ACK_BYTES = 1000


def acknowledgement(stream: Stream) -> bytes | None:
    """``ncrx<last> <missing>...``, in at most :data:`ACK_BYTES` bytes; ``None`` before the sender's first record.

    All records up to the last seq were received, except the missing ones. A record that was delivered without the
    records before it leaves those missing until they are too far behind to be delivered as late.

    While records far behind arrive, they are acknowledged instead: the sender sends its records again from the oldest
    one on, and has to learn which of them arrived this time.
    """
    if not stream.numbered:
        return None
    replay = stream.replay
    last = stream.last_seq
    missing: list[int] | None = None
    if replay is not None and replay.is_under_way(stream.last_seen):
        last = replay.window.top
        missing = replay.window.missing()
    ack = b"ncrx%d" % last
    # If not all seqs behind fit, which takes seqs of 15 digits, the oldest are left out.
    room = (ACK_BYTES - len(ack)) // (len(ack) - 3)
    for seq in _missing_behind(stream)[-room:] + _missing_ahead(stream) if missing is None else missing[-room:]:
        word = b" %d" % seq
        if len(ack) + len(word) > ACK_BYTES:
            break
        ack += word
    return ack


def _missing_behind(stream: Stream) -> list[int]:
    """The missing seqs up to the last, in order."""
    if stream.window is not None:
        return stream.window.missing()
    return [stream.last_seq] if stream.last_remembered == ABSENT else []


def _missing_ahead(stream: Stream) -> list[int]:
    """The missing seqs after the last, in order; no more than an acknowledgement can name."""
    held = [] if stream.held is None else stream.held.seqs()
    last = stream.last_seq
    highest = max(held, default=last)
    for key in stream.reassemblies or ():
        # A record without all its fragments is missing.
        highest = max(highest, key[0])
    missing: list[int] = []
    for seq in [*held, highest + 1]:
        missing += range(last + 1, min(seq, last + 1 + ACK_BYTES // 2 - len(missing)))
        last = seq
    return missing
