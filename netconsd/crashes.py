"""Crash reports and events: the values that modules receive, and the closed sets of their words.

:class:`Report` is one crash, lockup or other failure of a kernel, :class:`Event` a change in a machine's life. Both are
immutable; threads can share them, and a program can keep, compare and pickle them. docs/crashes describes the kinds and
titles, docs/events the events. :class:`netconsd.embedding.Recogniser` makes reports of messages.
"""

from netconsd.crash.event import EVENTS, Event
from netconsd.crash.report import KINDS, SEVERITIES, Frame, Report

__all__ = ["EVENTS", "KINDS", "SEVERITIES", "Event", "Frame", "Report"]
