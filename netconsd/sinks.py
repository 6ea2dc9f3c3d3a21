"""The names that a module needs to send records to a server: docs/streams shows one.

A module is a class derived from :class:`Stream`, with the methods of a sink: ``encode``, ``send``, ``close``.
"""

from netconsd.streams.http import Answered, Http, header_lines
from netconsd.streams.httpstream import HttpStream
from netconsd.streams.module import Stream
from netconsd.streams.record import Record
from netconsd.streams.sink import Answer, Encoded, Refused, Sink, TryLater

__all__ = [
    "Answer",
    "Answered",
    "Encoded",
    "Http",
    "HttpStream",
    "Record",
    "Refused",
    "Sink",
    "Stream",
    "TryLater",
    "header_lines",
]
