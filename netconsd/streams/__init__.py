"""Sends messages, crash reports and events to other systems: batches, retries, spool, dead letters.

- A server that hangs, is down or refuses records costs no lane and no other module anything.
- Each record is delivered at least once, or is in the dead-letter file with the server's answer, or in a counter.
- Messages of a host are sent in order.
- Memory and disk are bounded, and nothing waits without a limit of time.

docs/architecture has the parts, docs/streams the use.
"""
