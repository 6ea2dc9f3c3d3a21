"""The process around the service: configuration, signals, service manager.

- The configuration is valid, or one error text names everything that has to be changed.
- A start that fails prints one text and ends the process with status 1; the pid file is removed.
- The first SIGTERM or SIGINT stops in order; a second one ends the process at once, after the totals.
- Nothing here is needed to embed the service in another application.
"""
