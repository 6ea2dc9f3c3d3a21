"""The netconsole protocol, from bytes to messages and back. Pure: no socket, clock, thread, log or reactor."""
