"""The netconsole protocol, from bytes to messages and back. Pure: no socket, clock, thread, log or reactor.

Guarantees to the rooms above:

- Any bytes are accepted. ``decode`` raises ``Malformed`` for a contradictory header; nothing else raises.
- Every datagram is counted once, and every message has one origin (``counters``).
- A message does not change after it has been delivered. Threads can share it.
- The memory for one sender and for all senders is bounded, whatever they send.
- The callers pass the time. Objects that belong to one sender or one table are for one thread at a time.
"""
