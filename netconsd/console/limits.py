"""The bounds of the console, each with its reason."""

from __future__ import annotations

from typing import Final

#: Connections; beyond, the oldest one that is idle ends, else the new one. A browser has six.
CONNECTIONS: Final = 256
#: Live tails at once. Each has the 64 KiB of Twisted's transport, beyond which it asks for no more, and the piece that
#: was being written.
VIEWERS: Final = 100
#: Different filters of live tails, so that each viewer can have one: each costs a look at every message, in the process
#: of the tail.
CHANNELS: Final = VIEWERS
#: The bytes of the last messages of a filter, shared by its viewers: what a slow viewer can be behind. All filters
#: together have RINGS_BYTES.
RING_BYTES: Final = 2 << 20
RINGS_BYTES: Final = 16 << 20
#: The greatest piece of the live tail, and of an answer of a worker process.
PIECE_BYTES: Final = 256 << 10
#: Seconds between two looks for new messages. The order of messages costs a second one.
TICK_SECONDS: Final = 0.1
#: Messages of a filter that are shown in a tick: nobody reads 1000 a second. Further ones are counted as dropped.
TICK_MESSAGES: Final = 100
#: Crash reports and events of a filter that are shown in a tick; further ones are counted as dropped.
TICK_FINDINGS: Final = 100
#: Ticks in a row that cannot read the store, some seconds; then the process of the tail ends.
FAILED_TICKS: Final = 50
#: Seconds of a processor that a filter may take for a message and for a tick, after the first SLOW_SECONDS in
#: SLOW_TICKS: all filters share one process. A filter takes less than a microsecond for a message, a regular
#: expression such as ``.{1000}.{1000}`` 300.
SLOW_MESSAGE_SECONDS: Final = 20e-6
SLOW_TICK_SECONDS: Final = 0.02
SLOW_SECONDS: Final = 1.0
SLOW_TICKS: Final = 100
#: Seconds for which a filter that was too slow is refused, and the number of these filters.
REFUSED_SECONDS: Final = 60.0
REFUSED_FILTERS: Final = 1000
#: Seconds between two comments to an idle viewer, so that proxies keep the connection and a dead one is noticed.
COMMENT_SECONDS: Final = 15.0
#: Comments that a viewer who does not read lets pass; then the connection is aborted, as others wait for its place.
UNREAD_COMMENTS: Final = 4
#: Seconds between two looks at the process of the tail, and those after which a process that sent nothing is killed:
#: it sends a sign of life every second.
LOOK_SECONDS: Final = 5.0
SILENT_SECONDS: Final = 30.0
#: Seconds for which a filter is followed after its last viewer, so that a reconnect finds the ring.
LINGER_SECONDS: Final = 30.0
#: Messages that a reconnect or ``last`` gets from the store; beyond, the newest ones, and the number of the others.
REPLAY_MESSAGES: Final = 2000
#: Seconds for which a replay counts the messages beyond these; a viewer waits for that.
REPLAY_COUNT_SECONDS: Final = 1.0
#: Seconds after a replay within which the ring can repeat its messages.
SEAM_SECONDS: Final = 5.0
#: Messages before a viewer's place of which a replay reads the identities, as the ring can bring them once more: those
#: of two ticks and the syncs of the journal, at 10,000 a second.
SEAM_MESSAGES: Final = 5000
#: Seconds by which the clock can be behind the last message: beyond, it was set back.
CLOCK_SECONDS: Final = 60.0

#: Processes that answer queries. Each has a nice value, so that they leave the reception its processor.
WORKERS: Final = 3
#: Searches at once: one process is left for quick queries, such as those that a page begins with.
SCANS: Final = WORKERS - 1
#: Queries that wait for a process; beyond, the answer is 503. A page asks for at most six at once.
WAITING: Final = 64
#: Downloads at once: they last long, and queries need a process as well.
DOWNLOADS: Final = 1
#: Seconds for a query, and for a download; then its process is killed.
QUERY_SECONDS: Final = 60.0
DOWNLOAD_SECONDS: Final = 3600.0
#: Seconds for which the client of an answer takes nothing of it.
STALLED_SECONDS: Final = 30.0
#: Seconds for a process to end a query that nobody waits for; then it is killed.
CANCEL_SECONDS: Final = 1.0
#: Seconds without a query after which a process ends: it has some 100 MB.
IDLE_SECONDS: Final = 300.0
#: Bytes of memory that a process may reserve (RLIMIT_AS), so that no query can exhaust the machine's.
PROCESS_BYTES: Final = 4 << 30

#: Bytes of the body of a request: a reason for a triage is a paragraph.
BODY_BYTES: Final = 16 << 10
#: Bytes of the path and query of a request.
URI_BYTES: Final = 8 << 10
#: Seconds for a request to arrive, and between two of a connection.
REQUEST_SECONDS: Final = 30.0
#: Seconds between two requests that are begun, of all connections: see netconsd/monitor/connection.py, rule 1.
TURN_SECONDS: Final = 0.001

#: Messages of a page of results, by default and at most.
PAGE: Final = 500
PAGE_LIMIT: Final = 10_000
#: Messages before and after one (``context``).
CONTEXT_LIMIT: Final = 1000
#: Buckets of a chart: more than pixels.
BUCKETS: Final = 5000
#: Crash reports of which the worker keeps the fields without messages, the newest: some 60 MB.
REPORTS: Final = 50_000
#: Bytes of a reason.
WHY_BYTES: Final = 2000
#: Events and patterns of an answer.
EVENTS: Final = 10_000
PATTERNS: Final = 2000

#: Sessions of people; beyond, the oldest one ends.
SESSIONS: Final = 1000
#: Seconds after its last request for which a session lasts.
SESSION_SECONDS: Final = 7 * 86400.0
#: Wrong passwords from one address, and from all, within :data:`TRY_SECONDS`; beyond, the answer is 429.
TRIES: Final = 5
ALL_TRIES: Final = 30
TRY_SECONDS: Final = 60.0
#: Addresses whose tries are counted; beyond, :data:`ALL_TRIES` alone counts.
TRIED_ADDRESSES: Final = 1024
#: Silent machines that the page of the receiver names.
SILENT: Final = 1000
#: Addresses of an answer whose names DNS is asked for: it has at most 128 open questions.
SHOWN_ADDRESSES: Final = 1000
#: Seconds between two looks at the names that the daemon has.
NAMES_SECONDS: Final = 5.0
