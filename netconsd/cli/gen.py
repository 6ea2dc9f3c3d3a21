"""``netcons-gen``: one machine's messages, now and then, with what can go wrong in its numbering."""

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
from netconsd.send.source_addresses import OriginError, Target, origin_for

# As many numbers as a skip passes over, at most; the C daemon's tool has as many.
SKIP = 5
_U64 = 2**64 - 1
# The kernel's limits of a release and of a facility (docs/wire section 3).
_RELEASE = 64
_FACILITY = 255

_DESCRIPTION = """
Make messages as one machine's netconsole does, to ADDRESS PORT or to standard output, and say on stderr what is special
about each. A text too long for one datagram goes in fragments.
"""


@dataclass(frozen=True)
class Step:
    """One message's place in the numbering, and what happened before it: "", "skip" or "reset"."""

    seq: int
    msgid: int
    continuation: bool
    what: str


def steps(
    dice: random.Random, *, skip: bool = False, reset: bool = False, cont: bool = False, seq: int = 0
) -> Iterator[Step]:
    """The messages of a machine, without end: each follows the last, or passes over 1 to 5 numbers, or begins with 0.

    What happens is chosen with equal chances among those that are wished, and the usual. The msgid counts what is sent,
    so it passes over nothing, and begins anew with the machine.
    """
    modes = ["", *(["skip"] if skip else []), *(["reset"] if reset else [])]
    yield Step(seq, 1, False, "")
    msgid = 1
    while True:
        what = dice.choice(modes)
        seq = 0 if what == "reset" else seq + 1 + (dice.randint(1, SKIP) if what == "skip" else 0)
        seq &= _U64
        msgid = 1 if what == "reset" else msgid + 1
        yield Step(seq, msgid, cont and dice.random() < 0.5, what)


def main(arguments: Sequence[str] | None = None, prog: str = "netcons-gen") -> int:
    """Make the messages that the options say, until they are made or it is interrupted.

    :returns: 0; 1 if they cannot be sent.
    :raises SystemExit: with 2, if the options are wrong; with 1, if standard output cannot be written.
    """
    reader = parser(prog)
    options = reader.parse_args(arguments)
    if (options.address is None) != (options.port is None):
        reader.error("ADDRESS: it needs a PORT behind it")
    with ExitStack() as opened:
        try:
            # At once, so that each is a read of its own for what is behind a pipe: nc -u makes a datagram of it.
            write: Callable[[bytes], object] = partial(put, prog=prog)
            if options.address is not None:
                origin = origin_for(Target(options.address, options.port), None, 0)
                opened.callback(origin.close)
                write = lambda datagram: origin.sender.send([datagram], [0])  # noqa: E731
            generate(options, write)
        except OriginError as error:
            print(f"{prog}: {str(error).replace('-d ', '', 1)}", file=sys.stderr)
            return 1
        except OSError as error:
            print(f"{prog}: {options.address}: {error.strerror}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            pass
    return 0


def generate(
    options: argparse.Namespace,
    write: Callable[[bytes], object],
    *,
    sleep: Callable[[float], object] = time.sleep,
    clock: Callable[[], int] = time.monotonic_ns,
) -> None:
    """Write the datagrams of ``--count`` messages, with a pause between two messages.

    :param clock: nanoseconds; what the time stamps show.
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
            print(_about(step, last), file=sys.stderr, flush=True)
        last = step.seq


def datagrams(options: argparse.Namespace, step: Step, ts_usec: int) -> list[bytes]:
    """The datagrams of one message with the options' contents."""
    if options.legacy:
        whole = legacy(
            options.text, ts_usec=ts_usec, level=options.level, facility=options.facility, caller=options.caller
        )
        # A kernel cuts without a mark.
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
    """What reads the options."""
    reader = argparse.ArgumentParser(prog=prog, description=_DESCRIPTION, allow_abbrev=False)
    add = reader.add_argument
    add("address", metavar="ADDRESS", nargs="?", help="where to (default: standard output)")
    add("port", metavar="PORT", nargs="?", type=within(int, 1, 65535), help="UDP port")
    add("--skip", action="store_true", help=f"now and then pass over 1 to {SKIP} sequence numbers")
    add("--reset", action="store_true", help="now and then begin again with 0, as after a reboot")
    add("--cont", action="store_true", help="now and then mark a message as continuing an earlier one")
    add("--count", metavar="N", type=within(int, 0), default=0, help="so many messages (default: 0, until Ctrl-C)")
    add(
        "--interval",
        metavar="SECONDS",
        type=within(float, 0, 86400),
        default=0.5,
        help="pause between two (default: 0.5)",
    )
    add("--seq", metavar="N", type=within(int, 0, _U64), default=0, help="the first number (default: 0)")
    add("--text", type=_text, default="hi", help="default: hi")
    add("--level", metavar="N", type=within(int, 0, 7), default=3, help="0, emergency, to 7, debug (default: 3)")
    add("--facility", metavar="N", type=within(int, 0, _FACILITY), default=0, help="0, the kernel, to 255 (default: 0)")
    add("--release", type=_release, help="in the header, as with the kernel's option r")
    add("--caller", type=_caller, help="as T123 or C5")
    add("--userdata", metavar="KEY=VALUE", type=_pair, action="append", default=[], help="may be given several times")
    add("--msgid", action="store_true", help="count the messages, as newer kernels do; a skip passes over none")
    add("--legacy", action="store_true", help="in the legacy format, which has no numbers")
    add("--seed", metavar="N", type=int, help="make the same choices again (default: others each time)")
    add("-q", "--quiet", action="store_true", help="say nothing on stderr")
    return reader


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


def _about(step: Step, last: int | None) -> str:
    told = f"seq {step.seq}" if last is None else f"seq {last} -> {step.seq}"
    return told + (f", {step.what}" if step.what else "") + (", continuation" if step.continuation else "")


if __name__ == "__main__":
    sys.exit(main())
