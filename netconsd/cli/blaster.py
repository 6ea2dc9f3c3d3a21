"""``netconsblaster``: sends a load from a whole fleet, with faults on request, and prints a summary of it."""

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
from typing import IO, Any

from netconsd.cli.numbers import within
from netconsd.daemon.stdout import put
from netconsd.protocol.plural import plural
from netconsd.send.blast import Blast
from netconsd.send.fleet import FORMATS, Fleet, Template
from netconsd.send.link import Link, LinkCounters, expected_counters
from netconsd.send.source_addresses import BITS_LIMIT, AddressError, SourceAddresses, Target, open_source_addresses

DEFAULT_BITS = 16
#: The limit of the C daemon's generator: 256 threads.
THREADS_LIMIT = 8
# Seconds between two lines of progress.
PROGRESS_SECONDS = 1.0
_LOOPBACK = ip_network("127.0.0.0/8")

_DESCRIPTION = """
Send messages as netconsole does, from many addresses, as fast as possible, until Ctrl-C. At the end, print a summary:
the numbers sent, and the counters of a netconsd that received all of it.
"""


def main(arguments: Sequence[str] | None = None, prog: str = "netconsblaster") -> int:
    """Send the load that the options describe.

    :returns: 0, also after a signal; 1 if sending fails.
    :raises SystemExit: with 2, if an option is wrong; with 1, if the summary cannot be printed.
    """
    parser = _parser(prog)
    options = parser.parse_args(arguments)
    stop = threading.Event()
    blasts: list[Blast] = []
    opened: list[SourceAddresses] = []
    try:
        template = Template(options.format, options.size)
    except ValueError as error:
        parser.error(f"--size: {error}")
    try:
        bits = _bits(options, parser)
        for number in range(1 << options.threads):
            opened.append(open_source_addresses(options.target, options.source, bits))
            blasts.append(_blast(options, number, bits, template, opened[-1], stop))
        shows_progress = sys.stderr.isatty() if options.progress is None else options.progress
        seconds = _run(blasts, stop, sys.stderr if shows_progress else None)
    except AddressError as error:
        print(f"{prog}: {error}", file=sys.stderr)
        return 1
    finally:
        for source_addresses in opened:
            source_addresses.close()
    for blast in blasts:
        if blast.error is not None:
            name = options.target.name
            reason = f"{blast.error.strerror} (ip route get {name} shows the kernel's route)"
            print(f"{prog}: -d {name}: {reason}", file=sys.stderr)
            return 1
    result = _result(blasts, options, seconds)
    put(json.dumps(result) if options.json else _summary(result), prog)
    return 0


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=prog, description=_DESCRIPTION, allow_abbrev=False)
    sizes = ", ".join(f"{name} {size}" for name, size in FORMATS.items())
    percent = within(float, 0, 100)
    add = parser.add_argument
    add("-d", dest="destination", metavar="ADDRESS", default="127.0.0.1", help="destination (default: 127.0.0.1)")
    add("-p", dest="port", metavar="PORT", type=within(int, 1, 65535), default=1514, help="UDP port (default: 1514)")
    text = "the address whose low bits vary (default: 127.64.0.0 to a destination in 127.0.0.0/8; else this machine's)"
    add("-s", dest="source", metavar="ADDRESS", help=text)
    text = (
        f"send from 2^BITS addresses (default: {DEFAULT_BITS} to a destination in 127.0.0.0/8; else 0: more need root)"
    )
    add("-o", dest="bits", metavar="BITS", type=within(int, 0, BITS_LIMIT), help=text)
    text = "2^ORDER threads, which share the addresses (default: 0)"
    add("-t", dest="threads", metavar="ORDER", type=within(int, 0, THREADS_LIMIT), default=0, help=text)
    text = "messages of each thread (default: 0, until Ctrl-C)"
    add("-n", dest="count", metavar="COUNT", type=within(int, 0), default=0, help=text)
    text = "messages per second, of all threads together (default: 0, unlimited)"
    add("--rate", metavar="N", type=within(float, 0), default=0.0, help=text)
    add("--format", choices=FORMATS, default="extended", help="default: extended")
    add("--size", metavar="BYTES", type=within(int, 1), help=f"size of a message (default: by format, {sizes})")
    add("--loss", metavar="PERCENT", type=percent, default=0.0, help="datagrams not sent")
    add("--duplicate", metavar="PERCENT", type=percent, default=0.0, help="datagrams sent twice")
    text = "datagrams sent after the next one of the same sender"
    add("--reorder", metavar="PERCENT", type=percent, default=0.0, help=text)
    add("--seed", metavar="N", type=int, help="repeat the faults of an earlier run (default: a random seed)")
    add("--json", action="store_true", help="print the summary as JSON")
    text = "a line per second on stderr (default: on a terminal)"
    add("--progress", action=argparse.BooleanOptionalAction, help=text)
    return parser


def _bits(options: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    """The value of ``-o``, or its default. Sets ``options.target``, and ``options.seed`` if it is not given."""
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
    options: argparse.Namespace,
    number: int,
    bits: int,
    template: Template,
    source_addresses: SourceAddresses,
    stop: threading.Event,
) -> Blast:
    """The share of thread ``number``."""
    threads = 1 << options.threads
    share = (1 << bits) // threads
    # A later boot time than that of any earlier run, so that a daemon that saw one takes this run for a reboot.
    fleet = Fleet(template, share, time.monotonic_ns() // 1000, first=number * share)
    dice = random.Random(f"{options.seed}/{number}")
    link = Link(options.loss / 100, options.duplicate / 100, options.reorder / 100, dice.random)
    return Blast(fleet, link, source_addresses, count=options.count, rate=options.rate / threads, stop=stop)


def _run(blasts: list[Blast], stop: threading.Event, progress: IO[str] | None) -> float:
    """Run each blast in a thread until all have ended or a signal arrives; return the seconds."""
    previous = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    start = time.monotonic()
    threads = [threading.Thread(target=blast.run, daemon=True) for blast in blasts]
    try:
        for thread in threads:
            thread.start()
        shown = 0
        for thread in threads:
            while thread.is_alive():
                thread.join(PROGRESS_SECONDS)
                if progress is not None and thread.is_alive():
                    sent = sum(blast.datagrams for blast in blasts)
                    print(f"{sent:,} datagrams, {(sent - shown) / PROGRESS_SECONDS:,.0f}/s", file=progress, flush=True)
                    shown = sent
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    return time.monotonic() - start


def _result(blasts: list[Blast], options: argparse.Namespace, seconds: float) -> dict[str, Any]:
    """The summary, as ``--json`` prints it."""
    counters = LinkCounters()
    for blast in blasts:
        counters.add(blast.counters)
    senders = sum(blast.senders for blast in blasts)
    octets = sum(blast.octets for blast in blasts)
    sent = {"messages": counters.messages, "datagrams": counters.sent, "octets": octets, "senders": senders}
    return {
        "format": options.format,
        "seed": options.seed,
        "seconds": round(seconds, 3),
        "sent": sent,
        "faults": {name: getattr(counters, name) for name in ("lost", "duplicated", "reordered")},
        "messages_lost": counters.messages_lost,
        "netconsd": expected_counters(counters, options.format, senders),
    }


def _summary(result: dict[str, Any]) -> str:
    sent, faults, counters = result["sent"], result["faults"], dict(result["netconsd"])
    # The seconds are rounded to three decimals.
    rate = sent["datagrams"] / max(result["seconds"], 0.001)
    totals = ", ".join(plural(counters.pop(name), name[:-1]) for name in ("datagrams", "messages", "senders"))
    others = "".join(f", {name} {count}" for name, count in counters.items() if count)
    return (
        f"Sent {plural(sent['datagrams'], 'datagram')} ({plural(sent['octets'], 'byte')}) of "
        f"{plural(sent['messages'], 'message')} from {plural(sent['senders'], 'sender')} in "
        f"{result['seconds']:.1f} s: {rate:.0f}/s\n"
        f"Faults: {faults['lost']} lost, {faults['duplicated']} sent twice, {faults['reordered']} reordered; repeat "
        f"them with --seed {result['seed']}\n"
        f"If all of it arrives, netconsd counts: {totals}{others}"
    )
