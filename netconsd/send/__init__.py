"""The sending side: loads, faulty links, the reliable sender, the self-test's probe.

Guarantees: datagrams have the bytes that a kernel sends. The counters of a faulty link say exactly how many datagrams
it lost, duplicated and reordered. ``reliable``, ``fleet`` and ``link`` use no socket, clock or random generator.
"""
