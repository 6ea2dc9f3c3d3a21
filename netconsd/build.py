"""The build of netconsd: compiled or plain Python."""

from __future__ import annotations

from netconsd.protocol import decode

#: True if the hot files are compiled; setup.py compiles all of them or none.
COMPILED = not str(decode.__file__).endswith(".py")
#: The build for --version and the log.
KIND = "compiled" if COMPILED else "plain Python"
