"""The text of an acknowledgement: the answer to a sender of the reliable variant (docs/wire section 7)."""

from __future__ import annotations

from netconsd.protocol.stream import Stream
from netconsd.protocol.window import ABSENT

# The length of a kernel's datagram. A missing seq takes at least two bytes, which bounds the time that a forged gap of
# 2^64 records costs.
ACK_BYTES = 1000


def acknowledgement(stream: Stream, room: int = ACK_BYTES) -> bytes | None:
    """``ncrx<last> <missing>...``, in at most ``room`` bytes; ``None`` before the sender's first record.

    All records up to the last seq were received, except the missing ones. A record that was delivered without the
    records before it leaves those missing until they are too far behind to be delivered as late.

    If the missing seqs up to the last one do not fit in ``room`` bytes, the answer acknowledges only the records before
    the first seq that does not fit: a sender forgets every acknowledged record. Empty if even that does not fit.

    While records far behind arrive, they are acknowledged instead: the sender sends its records again from the oldest
    one on, and has to learn which of them arrived this time.
    """
    if not stream.numbered:
        return None
    replay = stream.replay
    if replay is not None and replay.is_under_way(stream.last_seen):
        last = replay.window.top
        behind, ahead = replay.window.missing(), []
    else:
        last = stream.last_seq
        behind, ahead = _missing_behind(stream), _missing_ahead(stream)
    left = room - len(b"ncrx%d" % last)
    if room >= ACK_BYTES:
        # Seqs of 15 digits, which no kernel reaches, do not fit in the longest answer either. The oldest are left out, or
        # the sender would wait for ever for the acknowledgement of a record behind numbers that were never sent.
        behind = behind[-(left // len(b" %d" % last)) :]
    words = b""
    for index, seq in enumerate([*behind, *ahead]):
        word = b" %d" % seq
        if len(words) + len(word) > left:
            if index < len(behind):
                last = seq - 1
            break
        words += word
    ack = b"ncrx%d%b" % (last, words)
    # A first record with seq 0 that is incomplete leaves nothing to acknowledge.
    return ack if last >= 0 and len(ack) <= room else b""


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
