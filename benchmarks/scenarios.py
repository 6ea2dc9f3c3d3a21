"""The scenarios, and the limits of their figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from benchmarks import loads

#: Datagrams per second; 0: as fast as the sender can.
PACED: Final = 300_000
FULL: Final = 0

Build = Literal["compiled", "plain"]


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A load, and the daemon's settings."""

    name: str
    about: str
    pieces: list[bytes]
    """The datagrams of one message (:mod:`benchmarks.loads`)."""
    senders: int = 100
    messages: int = 1_000_000
    skip: int = 0
    """After every ``skip`` messages of a sender a seq is omitted; 0: never."""
    rates: tuple[int, ...] = (PACED, FULL)
    """Datagrams per second."""
    module: str = "noop"
    """A file of benchmarks/modules, or a module shipped with netconsd."""
    beside: tuple[str, ...] = ()
    """Further modules."""
    options: tuple[str, ...] = ()
    """Options of the daemon; ``{scratch}`` is a directory that is empty before each run."""
    builds: tuple[Build, ...] = ("compiled",)


SCENARIOS: Final = {
    scenario.name: scenario
    for scenario in (
        Scenario(
            name="in-order",
            about="extended messages of 140 bytes, in order; a module that does nothing per message",
            pieces=loads.in_order(),
            builds=("compiled", "plain"),
        ),
        Scenario(
            name="suppressed",
            about="every third seq suppressed, and no msgid: messages are held for the reorder time",
            pieces=loads.in_order(),
            skip=2,
            builds=("compiled", "plain"),
        ),
        Scenario(
            name="suppressed-msgid",
            about="every third seq suppressed, and a msgid shows that none is lost",
            pieces=loads.in_order(loads.MSGID),
            skip=2,
        ),
        Scenario(
            name="sysdata",
            about="release, userdata and sysdata; a module that reads text, userdata and msgid",
            pieces=loads.rich(),
            module="reads",
            builds=("compiled", "plain"),
        ),
        Scenario(
            name="fragments",
            about="messages of three fragments",
            pieces=loads.fragmented(),
            messages=300_000,
        ),
        Scenario(
            name="legacy",
            about="legacy messages of one line",
            pieces=loads.one_line(),
        ),
        Scenario(
            name="65536-senders",
            about="in-order from 65,536 senders in turn",
            pieces=loads.in_order(),
            senders=65_536,
        ),
        Scenario(
            name="1000000-senders",
            about="in-order from 1,000,000 senders in turn",
            pieces=loads.in_order(),
            senders=1_000_000,
            messages=2_000_000,
            # Each worker has a share of the table, and addresses are not distributed quite evenly.
            options=("--max-sources", "1100000"),
        ),
        Scenario(
            name="logger",
            about="in-order, written to files by the shipped module logger",
            pieces=loads.in_order(),
            module="logger",
            options=("--set", "logger.directory={scratch}"),
        ),
        Scenario(
            name="stored",
            about="in-order, kept by the shipped module store, whose compactor is a process that is not counted",
            pieces=loads.in_order(),
            module="store",
            options=("--set", "store.directory={scratch}/store"),
        ),
        Scenario(
            name="two-modules",
            about="in-order; two modules that do nothing, one per message and one per batch: compare with in-order",
            pieces=loads.in_order(),
            beside=("batches",),
            builds=("compiled", "plain"),
        ),
        Scenario(
            name="crashes",
            about="in-order; crash reports and events are wanted: compare with in-order",
            pieces=loads.in_order(),
            module="reports",
            builds=("compiled", "plain"),
        ),
        Scenario(
            name="forged-crashes",
            about="each message is the first line of a crash; crash reports and events are wanted",
            pieces=loads.forged_crash(),
            module="reports",
        ),
        Scenario(
            name="forged-crashes-off",
            about="the same messages, and nobody wants reports: compare with forged-crashes",
            pieces=loads.forged_crash(),
        ),
        Scenario(
            name="burst",
            about="200,000 messages within a second; a module that burns 5 µs per message",
            pieces=loads.in_order(),
            messages=200_000,
            rates=(200_000, FULL),
            module="burns",
        ),
    )
}


@dataclass(frozen=True)
class Target:
    """The limit of a figure, at every rate of the scenario."""

    scenario: str
    build: Build
    figure: Literal["ratio", "loss", "memory"]
    """CPU divided by the floor's; share of the messages sent; bytes above idle."""
    limit: float


MB: Final = 1_000_000

TARGETS: Final = (
    Target("in-order", "compiled", "ratio", 1.8),
    Target("in-order", "plain", "ratio", 5),
    Target("suppressed", "compiled", "ratio", 2.5),
    Target("suppressed-msgid", "compiled", "ratio", 2.5),
    Target("sysdata", "compiled", "ratio", 3.5),
    Target("logger", "compiled", "ratio", 3),
    Target("in-order", "compiled", "loss", 0),
    Target("logger", "compiled", "loss", 0),
    Target("stored", "compiled", "loss", 0),
    Target("two-modules", "compiled", "loss", 0),
    Target("crashes", "compiled", "loss", 0),
    Target("burst", "compiled", "loss", 0),
    Target("65536-senders", "compiled", "memory", 60 * MB),
    Target("1000000-senders", "compiled", "memory", 700 * MB),
)
