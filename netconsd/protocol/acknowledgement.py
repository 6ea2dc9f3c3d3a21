"""The text of an acknowledgement: the answer to a sender of the reliable variant (docs/wire section 7)."""

from __future__ import annotations

from netconsd.protocol.stream import Stream

# The length of a kernel's datagram. A missing seq takes at least two bytes, which bounds the time that a forged gap of
# 2^64 records costs.
ACK_BYTES = 1000


def acknowledgement(stream: Stream, room: int = ACK_BYTES) -> bytes | None:
    """``ncrx<last> <missing>...``, in at most ``room`` bytes; ``None`` before the sender's first record.

    All records up to the last seq were received, except the missing ones. A record that was delivered without the
    records before it leaves those missing until they are too far behind to be delivered as late.

    Empty if the missing seqs up to the last one do not fit: a sender forgets every acknowledged record, so each of them
    has to be named. In :data:`ACK_BYTES` all fit, unless they have 15 digits, which no kernel reaches; then the oldest
    are left out, or a record behind numbers that were never sent would never be acknowledged.

    While records far behind arrive, they are acknowledged instead: the sender sends its records again from the oldest
    one on, and has to learn which of them arrived this time.
    """
    if not stream.numbered:
        return None
    replay = stream.replay
    if replay is not None and replay.is_under_way(stream.last_seen):
        last = replay.window.last_seq
        behind, ahead = replay.window.missing_seqs(), []
    else:
        last = stream.last_seq
        behind, ahead = stream.missing_seqs(), _missing_ahead(stream)
    ack = b"ncrx%d" % last
    behind = behind[-((ACK_BYTES - len(ack)) // len(b" %d" % last)) :]
    ack += b"".join([b" %d" % seq for seq in behind])
    if len(ack) > room:
        return b""
    for seq in ahead:
        word = b" %d" % seq
        if len(ack) + len(word) > room:
            break
        ack += word
    return ack


def _missing_ahead(stream: Stream) -> list[int]:
    """The missing seqs after the last, in order; no more than an acknowledgement can name."""
    held = [] if stream.held is None else stream.held.seqs()
    last = stream.last_seq
    highest = max(held, default=last)
    for reassembly in stream.reassemblies or ():
        # A record without all its fragments is missing.
        highest = max(highest, reassembly.first._seq)
    missing: list[int] = []
    for seq in [*held, highest + 1]:
        missing += range(last + 1, min(seq, last + 1 + ACK_BYTES // 2 - len(missing)))
        last = seq
    return missing
