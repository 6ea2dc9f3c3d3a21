"""``netconsd run``: ``twistd netconsd`` in the foreground, without a pid file."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None, prog: str = "netconsd run") -> int:
    """Run the daemon until it is told to stop; the options are those of ``twistd netconsd``.

    :raises SystemExit: as twistd does.
    """
    from twisted.scripts.twistd import run

    given = sys.argv[1:] if arguments is None else arguments
    sys.argv = [prog, "--nodaemon", "--pidfile=", "netconsd", *given]
    run()
    return 0
