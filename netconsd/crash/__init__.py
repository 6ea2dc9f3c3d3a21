"""Turns messages into crash reports and events. Pure: no socket, clock, thread, log or reactor; ``now`` is an argument.

Guarantees to the rooms above:

- Any message is accepted; nothing raises.
- A report's messages are messages that were received, untouched. A message is in one report at most, except if its
  lines belong to several.
- The memory for one sender and for all senders is bounded, whatever they send.
- Reports and events are immutable and can be sent to other threads and processes.
- A recogniser is for one thread at a time.
"""
