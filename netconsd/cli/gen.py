"""``netcons-gen``: sends the messages of one machine, slowly, with gaps and resets in their numbers on request."""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

from netconsd.cli.numbers import within
from netconsd.daemon.stdout import put
from netconsd.protocol.encode import CHUNK, extended, fragments, legacy
from netconsd.send.source_addresses import AddressError, Target, open_source_addresses

# The largest skip, in sequence numbers; as in the C daemon's tool.
SKIP = 5
_U64 = 2**64 - 1
# The kernel's limits for a release and of a facility (docs/wire section 3).
_RELEASE = 64
_FACILITY = 255

_DESCRIPTION = """
Send the messages of one machine as netconsole does, to ADDRESS PORT or to standard output. Print the number of each
message on stderr. A text too long for one datagram is sent in fragments.
"""


@dataclass(frozen=True)
class Step:
    """The numbers of one message, and the event before it: "", "skip" or "reset"."""

    seq: int
    msgid: int
    continuation: bool
    event: str


def steps(
    dice: random.Random, *, skip: bool = False, reset: bool = False, cont: bool = False, seq: int = 0
) -> Iterator[Step]:
    """The numbers of a machine's messages, without end: each follows the last, skips 1 to 5 numbers, or restarts at 0.

    Each enabled event is as likely as none. The msgid counts the messages sent, so a skip leaves no gap in it, and a
    reset restarts it at 1.
    """
    events = ["", *(["skip"] if skip else []), *(["reset"] if reset else [])]
    yield Step(seq, 1, False, "")
    msgid = 1
    while True:
        event = dice.choice(events)
        seq = 0 if event == "reset" else seq + 1 + (dice.randint(1, SKIP) if event == "skip" else 0)
        seq &= _U64
        msgid = 1 if event == "reset" else msgid + 1
        yield Step(seq, msgid, cont and dice.random() < 0.5, event)


def main(arguments: Sequence[str] | None = None, prog: str = "netcons-gen") -> int:
    """Send ``--count`` messages, or until interrupted.

    :returns: 0; 1 if sending fails.
    :raises SystemExit: with 2, if an option is wrong; with 1, if standard output cannot be written.
    """
    options_parser = parser(prog)
    options = options_parser.parse_args(arguments)
    if (options.address is None) != (options.port is None):
        options_parser.error("ADDRESS: a PORT must follow it")
    with ExitStack() as opened:
        try:
            # Unbuffered: the reader of a pipe gets each datagram in one read, and nc -u makes a datagram of a read.
            write: Callable[[bytes], object] = partial(put, prog=prog)
            if options.address is not None:
                source_address = open_source_addresses(Target(options.address, options.port), None, 0)
                opened.callback(source_address.close)
                write = lambda datagram: source_address.sender.send([datagram], [0])  # noqa: E731
            write_messages(options, write)
        except AddressError as error:
            print(f"{prog}: {str(error).replace('-d ', '', 1)}", file=sys.stderr)
            return 1
        except OSError as error:
            print(f"{prog}: {options.address}: {error.strerror}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            pass
    return 0


def write_messages(
    options: argparse.Namespace,
    write: Callable[[bytes], object],
    *,
    sleep: Callable[[float], object] = time.sleep,
    clock: Callable[[], int] = time.monotonic_ns,
) -> None:
    """Write the datagrams of ``--count`` messages, with a pause between two messages.

    :param clock: the time for the timestamps, in nanoseconds.
    """
    numbering = steps(
        random.Random(options.seed), skip=options.skip, reset=options.reset, cont=options.cont, seq=options.seq
    )
    last: int | None = None
    for number, step in enumerate(numbering):
        if options.count and number >= options.count:
            return
        if number:
            sleep(options.interval)
        for datagram in datagrams(options, step, clock() // 1000):
            write(datagram)
        if not options.quiet:
            print(_progress_line(step, last), file=sys.stderr, flush=True)
        last = step.seq


def datagrams(options: argparse.Namespace, step: Step, ts_usec: int) -> list[bytes]:
    """The datagrams of one message with the contents that the options name."""
    if options.legacy:
        whole = legacy(
            options.text, ts_usec=ts_usec, level=options.level, facility=options.facility, caller=options.caller
        )
        # A kernel cuts legacy text without a mark.
        return [whole[start : start + CHUNK] for start in range(0, len(whole), CHUNK)]
    whole = extended(
        options.text,
        seq=step.seq,
        ts_usec=ts_usec,
        level=options.level,
        facility=options.facility,
        flag="c" if step.continuation else "-",
        release=options.release,
        caller=options.caller,
        userdata=dict(options.userdata),
        msgid=step.msgid if options.msgid else None,
    )
    return fragments(whole)


def parser(prog: str) -> argparse.ArgumentParser:
    """The parser of the options."""
    options = argparse.ArgumentParser(prog=prog, description=_DESCRIPTION, allow_abbrev=False)
    add = options.add_argument
    add("address", metavar="ADDRESS", nargs="?", help="destination (default: standard output)")
    add("port", metavar="PORT", nargs="?", type=within(int, 1, 65535), help="UDP port")
    add("--skip", action="store_true", help=f"skip 1 to {SKIP} sequence numbers at random")
    add("--reset", action="store_true", help="restart at 0 at random, as after a reboot")
    add("--cont", action="store_true", help="mark messages as continuations at random")
    add("--count", metavar="N", type=within(int, 0), default=0, help="number of messages (default: 0, until Ctrl-C)")
    text = "pause between two messages (default: 0.5)"
    add("--interval", metavar="SECONDS", type=within(float, 0, 86400), default=0.5, help=text)
    add("--seq", metavar="N", type=within(int, 0, _U64), default=0, help="the first sequence number (default: 0)")
    add("--text", type=_text, default="hi", help="text of the messages (default: hi)")
    add("--level", metavar="N", type=within(int, 0, 7), default=3, help="0, emergency, to 7, debug (default: 3)")
    add("--facility", metavar="N", type=within(int, 0, _FACILITY), default=0, help="0, the kernel, to 255 (default: 0)")
    add("--release", type=_release, help="a release in the header, as with the kernel's option r")
    add("--caller", type=_caller, help="a thread or processor in the header, such as T123 or C5")
    add("--userdata", metavar="KEY=VALUE", type=_pair, action="append", default=[], help="repeatable")
    add("--msgid", action="store_true", help="number the messages sent, as newer kernels do; unaffected by a skip")
    add("--legacy", action="store_true", help="the legacy format, which has no numbers")
    add("--seed", metavar="N", type=int, help="repeat the random choices of an earlier run (default: a random seed)")
    add("-q", "--quiet", action="store_true", help="print nothing on stderr")
    return options


def _text(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise argparse.ArgumentTypeError(f"{text!r} is not UTF-8") from None
    return text


def _release(text: str) -> str:
    if not 0 < len(text) <= _RELEASE or not text.isascii() or not text.isprintable() or set(" ,;") & set(text):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not 1 to {_RELEASE} ASCII characters without space, comma, semicolon"
        )
    return text


def _caller(text: str) -> str:
    if text[:1] not in ("T", "C") or not text[1:].isdecimal() or not text.isascii():
        raise argparse.ArgumentTypeError(f"{text!r} is not T or C and a number")
    return text


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = _text(text).partition("=")
    if not key or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    return key, value


def _progress_line(step: Step, last: int | None) -> str:
    numbers = f"seq {step.seq}" if last is None else f"seq {last} -> {step.seq}"
    return numbers + (f", {step.event}" if step.event else "") + (", continuation" if step.continuation else "")
