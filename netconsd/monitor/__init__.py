"""The counters, as shown in the log, to Prometheus and over HTTP.

A snapshot is a value: it never changes, and reading it needs no lock. Everything else here is for the reactor's thread.
Nothing here changes the state of a listener, worker or module, and no part of a page grows with the number of senders.
"""
