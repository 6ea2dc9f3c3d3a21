"""The sending side: loads, faulty links, the reliable sender, the self-test's probe.

Guarantees: the datagrams are those that a kernel sends, byte for byte; the counters of a faulty link say exactly how many
datagrams it dropped, duplicated and reordered; ``reliable`` and ``fleet`` use no socket, clock or random number of their
own.
"""
