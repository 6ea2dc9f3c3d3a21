"""Which build of netconsd this is."""

from __future__ import annotations

from netconsd.protocol import decode as wire

#: Whether the hot files are compiled: all of them, or none (setup.py sees to that).
COMPILED = not str(wire.__file__).endswith(".py")
#: The same in words.
KIND = "compiled" if COMPILED else "plain Python"
