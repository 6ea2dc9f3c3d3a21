"""Finds, checks, configures, starts, calls and stops output modules.

Guarantees: a module that cannot be loaded or started is an error whose text names the file and the remedy, and no
module's exception reaches a worker, another module or the daemon.
"""
