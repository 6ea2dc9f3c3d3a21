"""The console: pages and an HTTP API over a store, a live tail, and the triage of crashes.

No number of requests, viewers or queries delays reception: the daemon's process only copies bytes that other processes
made, in bounded pieces. Nothing is served to a stranger beyond loopback, and no text of a kernel is served as markup.
"""
