"""Receives datagrams from the kernel's sockets and queues them for the lanes.

Guarantees: every datagram that was read ends in exactly one counter, a sender's datagrams go through one lane in order,
every queue has a bound, and no failing system call, allocation or module ends the reading or a lane.
"""
