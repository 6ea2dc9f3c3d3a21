"""Crash reports and events: the values that modules receive, and the recogniser that makes the reports.

:class:`Report` is one crash, lockup or other failure of a kernel, :class:`Event` a change in a machine's life. Both are
immutable; threads can share them, and a program can keep, compare and pickle them. docs/crashes describes the kinds and
titles, docs/events the events.
"""

from netconsd.crash.event import EVENTS, Event
from netconsd.crash.report import KINDS, SEVERITIES, Frame, Report

__all__ = ["EVENTS", "KINDS", "SEVERITIES", "Event", "Frame", "Report"]
