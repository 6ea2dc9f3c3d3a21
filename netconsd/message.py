"""The message classes: immutable values that modules receive.

Threads can share a message, and a program can keep, compare, hash and pickle it. Importing this module loads only the
parser.
"""

from netconsd.protocol.message import ExtendedMessage, LegacyDatagram, LegacyMessage, Message, Source

__all__ = ["ExtendedMessage", "LegacyDatagram", "LegacyMessage", "Message", "Source"]
