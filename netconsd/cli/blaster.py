"""``netconsblaster``: load for a receiver, from a whole fleet, with faults on request; then an account of it."""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
import threading
import time
from collections.abc import Sequence
from ipaddress import ip_network
from typing import Any

from netconsd.cli.numbers import within
from netconsd.daemon.stdout import put
from netconsd.send.blast import Blast
from netconsd.send.fleet import FORMATS, Fleet, Template
from netconsd.send.link import Account, Link, counted
from netconsd.send.source_addresses import BITS_LIMIT, Origin, OriginError, Target, origin_for

DEFAULT_BITS = 16
#: The C daemon's generator has as many: 256 threads.
THREADS_LIMIT = 8
# Seconds between two lines of progress.
PROGRESS_SECONDS = 1.0
_LOOPBACK = ip_network("127.0.0.0/8")

_DESCRIPTION = """
Send messages as netconsole does, from many addresses, as fast as it goes, until Ctrl-C. In the end it says what it
sent, and what netconsd counts if all of it arrived.
"""


def main(arguments: Sequence[str] | None = None, prog: str = "netconsblaster") -> int:
    """Send what the options say.

    :returns: 0, also if it was stopped by a signal; 1 if it cannot be sent.
    :raises SystemExit: with 2, if the options are wrong; with 1, if the account cannot be printed.
    """
    parser = _parser(prog)
    options = parser.parse_args(arguments)
    stop = threading.Event()
    blasts: list[Blast] = []
    origins: list[Origin] = []
    try:
        template = Template(options.format, options.size)
    except ValueError as error:
        parser.error(f"--size: {error}")
    try:
        bits = _bits(options, parser)
        for number in range(1 << options.threads):
            origin = origin_for(options.target, options.source, bits)
            origins.append(origin)
            blasts.append(_blast(options, number, bits, template, origin, stop))
        seconds = _run(blasts, stop, sys.stderr if _shows_progress(options) else None)
    except OriginError as error:
        print(f"{prog}: {error}", file=sys.stderr)
        return 1
    finally:
        for origin in origins:
            origin.close()
    for blast in blasts:
        if blast.error is not None:
            print(f"{prog}: {_why(blast.error, options.target)}", file=sys.stderr)
            return 1
    result = _result(blasts, options, seconds)
    put(json.dumps(result) if options.json else _told(result), prog)
    return 0


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=prog, description=_DESCRIPTION, allow_abbrev=False)
    sizes = ", ".join(f"{name} {size}" for name, size in FORMATS.items())
    percent = within(float, 0, 100)
    add = parser.add_argument
    add("-d", dest="destination", metavar="ADDRESS", default="127.0.0.1", help="where to (default: 127.0.0.1)")
    add("-p", dest="port", metavar="PORT", type=within(int, 1, 65535), default=1514, help="UDP port (default: 1514)")
    told = (
        "the address whose low bits are varied (default: one of 127.0.0.0/8 if the destination is, else this machine's)"
    )
    add("-s", dest="source", metavar="ADDRESS", help=told)
    told = f"from 2^BITS addresses (default: {DEFAULT_BITS} to a destination in 127.0.0.0/8; else 0: more need root)"
    add("-o", dest="bits", metavar="BITS", type=within(int, 0, BITS_LIMIT), help=told)
    told = "2^ORDER threads, which share the addresses (default: 0)"
    add("-t", dest="threads", metavar="ORDER", type=within(int, 0, THREADS_LIMIT), default=0, help=told)
    told = "messages of each thread (default: 0, until Ctrl-C)"
    add("-n", dest="count", metavar="COUNT", type=within(int, 0), default=0, help=told)
    told = "messages per second, of all threads together (default: 0, all that it can)"
    add("--rate", metavar="N", type=within(float, 0), default=0.0, help=told)
    add("--format", choices=FORMATS, default="extended", help="default: extended")
    add("--size", metavar="BYTES", type=within(int, 1), help=f"of a message (default: by format, {sizes})")
    add("--loss", metavar="PERCENT", type=percent, default=0.0, help="of the datagrams, not sent")
    add("--duplicate", metavar="PERCENT", type=percent, default=0.0, help="of the datagrams, sent twice")
    add(
        "--reorder", metavar="PERCENT", type=percent, default=0.0, help="of the datagrams, sent after the sender's next"
    )
    add("--seed", metavar="N", type=int, help="make the same faults again (default: others each time)")
    add("--json", action="store_true", help="print the account as JSON")
    told = "a line per second on stderr (default: on a terminal)"
    add("--progress", action=argparse.BooleanOptionalAction, help=told)
    return parser


def _bits(options: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    """The ``-o`` that is meant; the target and the seed are completed on the way."""
    options.target = Target(options.destination, options.port)
    loopback = options.target.address in _LOOPBACK
    bits: int = options.bits
    if options.bits is None:
        bits = DEFAULT_BITS if loopback else options.threads
    if options.threads > bits:
        parser.error(f"-t {options.threads}: more threads than addresses; raise -o {bits}")
    if options.seed is None:
        options.seed = random.randrange(1 << 32)
    return bits


def _blast(
    options: argparse.Namespace, number: int, bits: int, template: Template, origin: Origin, stop: threading.Event
) -> Blast:
    """The part of one thread."""
    threads = 1 << options.threads
    share = (1 << bits) // threads
    # Later than those of an earlier run, so that a daemon that saw it takes this one for a reboot.
    fleet = Fleet(template, share, time.monotonic_ns() // 1000, first=number * share)
    dice = random.Random(f"{options.seed}/{number}")
    link = Link(options.loss / 100, options.duplicate / 100, options.reorder / 100, dice.random)
    return Blast(fleet, link, origin, count=options.count, rate=options.rate / threads, stop=stop)


def _run(blasts: list[Blast], stop: threading.Event, progress: Any) -> float:
    """Run all of them in threads, until they have ended or a signal has come; return the seconds."""
    previous = {each: signal.signal(each, lambda *_: stop.set()) for each in (signal.SIGINT, signal.SIGTERM)}
    begun = time.monotonic()
    threads = [threading.Thread(target=blast.run, daemon=True) for blast in blasts]
    try:
        for thread in threads:
            thread.start()
        seen = 0
        for thread in threads:
            while thread.is_alive():
                thread.join(PROGRESS_SECONDS)
                if progress is not None and thread.is_alive():
                    sent = sum(blast.datagrams for blast in blasts)
                    print(f"{sent:,} datagrams, {(sent - seen) / PROGRESS_SECONDS:,.0f}/s", file=progress, flush=True)
                    seen = sent
    finally:
        for each, handler in previous.items():
            signal.signal(each, handler)
    return time.monotonic() - begun


def _shows_progress(options: argparse.Namespace) -> bool:
    return bool(sys.stderr.isatty() if options.progress is None else options.progress)


def _why(error: OSError, target: Target) -> str:
    return f"-d {target.name}: {error.strerror} (ip route get {target.name} says where the kernel would send it)"


def _result(blasts: list[Blast], options: argparse.Namespace, seconds: float) -> dict[str, Any]:
    account = Account()
    for blast in blasts:
        account.add(blast.account)
    senders = sum(blast.senders for blast in blasts)
    sent = {"messages": account.messages, "datagrams": account.sent, "octets": sum(each.octets for each in blasts)}
    faults = {name: getattr(account, name) for name in ("lost", "duplicated", "reordered")}
    return {
        "format": options.format,
        "seed": options.seed,
        "seconds": round(seconds, 3),
        "sent": {**sent, "senders": senders},
        "faults": faults,
        "messages_lost": account.messages_lost,
        "netconsd": counted(account, options.format, senders),
    }


def _told(result: dict[str, Any]) -> str:
    sent, faults, counters = result["sent"], result["faults"], dict(result["netconsd"])
    # The seconds have three places.
    rate = sent["datagrams"] / max(result["seconds"], 0.001)
    came = [counters.pop(name) for name in ("datagrams", "messages", "senders")]
    of_note = [f"{name} {count}" for name, count in counters.items() if count]
    return (
        f"Sent {sent['datagrams']} datagrams, {sent['octets']} bytes, of {sent['messages']} messages from "
        f"{sent['senders']} senders in {result['seconds']:.1f} s: {rate:.0f}/s\n"
        f"Faults: {faults['lost']} datagrams lost, {faults['duplicated']} sent twice, {faults['reordered']} out of "
        f"order; the same again with --seed {result['seed']}\n"
        f"If all of it came, netconsd says: {came[0]} datagrams received, {came[1]} messages from {came[2]} senders\n"
        f"Of note: {', '.join(of_note) or 'nothing'}"
    )


if __name__ == "__main__":
    sys.exit(main())
