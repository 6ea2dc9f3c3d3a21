"""A crash report: what a kernel said about one failure, as one immutable value.

The words of ``kind`` and ``severity`` are closed sets: other programs choose by them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from ipaddress import ip_address
from typing import Any, Final

from netconsd.protocol.message import ExtendedMessage, Message, Source

#: The kinds, each with what the kernel found.
KINDS: Final = {
    "panic": "the kernel gave up, and no earlier report says why",
    "memory-fault": "an access to an address that is not mapped or not allowed: NULL, paging request, protection fault",
    "kasan": "KASAN: memory used after it was freed, or outside its bounds",
    "kmsan": "KMSAN: memory used before it was initialised",
    "kcsan": "KCSAN: two tasks accessed the same memory at once",
    "kfence": "KFENCE: memory used after it was freed, or outside its bounds, found by sampling",
    "ubsan": "UBSAN: undefined behaviour in C",
    "bug": "the kernel's code found an impossible state and ended the task: BUG()",
    "warning": "the kernel's code found an unexpected state and continued: WARN()",
    "list": "a linked list is corrupted",
    "refcount": "a reference count overflowed, or was used after it had reached zero",
    "usercopy": "a copy to or from user space would have crossed the bounds of an object",
    "divide": "a division by zero, or an overflow in one",
    "trap": "another exception of the processor: an invalid instruction, a breakpoint, a double fault",
    "stack": "a kernel stack overflowed, or its end was overwritten",
    "soft-lockup": "a processor did not run other tasks for too long",
    "hard-lockup": "a processor did not handle interrupts for too long",
    "rcu-stall": "a processor or task held up RCU for too long",
    "hung-task": "a task waited for too long without being interruptible",
    "workqueue-lockup": "a queue of work made no progress for too long",
    "deadlock": "locks are taken in an order that can deadlock (lockdep)",
    "locking": "a lock is used wrongly (lockdep and the locks' own checks)",
    "atomic": "code slept or used preemptible state where it must not",
    "page-state": "the state of pages, page tables or counters of memory is wrong",
    "slab": "an object of the slab allocator is damaged",
    "memory-leak": "kmemleak: memory that nothing refers to",
    "oom": "memory was exhausted, and a process was killed",
    "page-allocation": "an allocation of pages failed",
    "hardware": "the hardware reported an error: machine check, memory, PCIe",
    "filesystem": "a file system found an error in its data",
    "disk": "a disk failed or did not answer",
    "network": "a network device did not send",
    "interrupt": "an interrupt that no driver handled",
    "reference": "a reference to a device or file system was not released, or was released too often",
    "reboot": "the machine booted again, and nobody had announced it",
}

#: The severities, the worst first.
SEVERITIES: Final = {
    "dead": "the machine went down with it",
    "hung": "a part of the machine does not go on",
    "corrupt": "memory or data is, or may be, wrong: results cannot be trusted",
    "degraded": "a task or a device was lost; the machine goes on",
    "notice": "the kernel noticed a fault and went on",
}

#: The letters of the taint (Documentation/admin-guide/tainted-kernels.rst). G says that no proprietary module is there.
TAINTS: Final = {
    "P": "a proprietary module",
    "G": "no proprietary module",
    "F": "a module was loaded by force",
    "S": "the processor is out of its specification",
    "R": "a module was unloaded by force",
    "M": "a machine check",
    "B": "a bad page",
    "U": "a user asked for the taint",
    "D": "an oops or BUG before",
    "A": "an ACPI table was overridden",
    "W": "a WARN before",
    "C": "a staging driver",
    "I": "a workaround for a bug in the firmware",
    "O": "an out-of-tree module",
    "E": "an unsigned module",
    "L": "a soft lockup before",
    "K": "a live patch",
    "X": "an auxiliary taint of the distribution",
    "T": "a structure layout that was randomised",
    "N": "an in-kernel test",
    "J": "a userspace command to a CXL device or other mutating call",
}
#: Frames that a report keeps. The kernel prints at most some hundred; a stack that overflowed repeats the same ones.
FRAMES_LIMIT: Final = 128


@dataclass(frozen=True, slots=True)
class Frame:
    """One entry of a stack trace."""

    #: As the kernel printed it, with suffixes like ``.isra.0``.
    name: str
    #: Bytes from the function's begin, and its length; None if the kernel did not print them.
    offset: int | None = None
    size: int | None = None
    module: str | None = None
    build_id: str | None = None
    #: True for an address that was found on the stack and is perhaps no caller: ``? name``, ``(unreliable)``.
    questionable: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """One crash, lockup or other failure, from its first line to its last.

    The title, the kind and the severity are safe to print. The other texts are the sender's, and can contain any
    character: :func:`netconsd.rendering.printable` escapes them.
    """

    #: At most 120 printable ASCII characters: ``KASAN: slab-use-after-free Read in chrdev_open``.
    title: str
    #: One of :data:`KINDS`.
    kind: str
    #: One of :data:`SEVERITIES`.
    severity: str
    #: The guilty function without suffixes and wrappers; None if the report names none.
    function: str | None = None
    #: The module of that function; None for the kernel itself.
    module: str | None = None
    #: Other titles of the same bug: two reports that share a title or an alternative are of the same bug.
    alternatives: tuple[str, ...] = ()
    #: ``VERSION:HASH``, the same for equal titles with the same version of the rules.
    fingerprint: str = ""
    source: Source | None = None
    #: The kernel's release: of the messages, else of the CPU line of the report.
    release: str | None = None
    #: The machine's model, as in "Hardware name: ".
    machine: str | None = None
    cpu: int | None = None
    pid: int | None = None
    comm: str | None = None
    #: The letters of the taint, as ``GOE``; "" if not tainted, None if not said.
    tainted: str | None = None
    #: The stack of the guilty task, the innermost first; at most :data:`FRAMES_LIMIT`.
    frames: tuple[Frame, ...] = ()
    #: The messages of the report, untouched, in order.
    messages: tuple[Message, ...] = ()
    #: The sender's messages before the first one of the report: of the last minute, at most 50.
    before: tuple[Message, ...] = ()
    #: Unix time of the first message of the report.
    received_at: float = 0.0
    #: The kernel's clock at the first message; None if not sent.
    ts_usec: int | None = None
    #: True if the machine went down with it.
    fatal: bool = False
    #: The title of the report that this one followed from; None if it stands alone.
    consequence_of: str | None = None
    #: Why a part is missing, in words; None if the report is whole. The function may then be wrong.
    incomplete: str | None = None
    #: How often the same report came again in the same boot before this value was made: "one report, counted".
    repeats: int = 0
    #: The numbers of the first and last line in a file; None for messages that were received.
    first_line: int | None = None
    last_line: int | None = None

    def text(self) -> str:
        """Return the report's lines as ``scripts/decode_stacktrace.sh`` of the kernel's source takes them.

        Each line ends with a newline. Time stamps and callers are left out, characters are as received: escape them
        (:func:`netconsd.rendering.printable`) before a terminal.
        """
        return "".join([f"{message.text}\n" for message in self.messages])

    @property
    def taint(self) -> tuple[str, ...]:
        """The taint in words, one for each letter: ``("a machine check", "an out-of-tree module")``."""
        return tuple([TAINTS.get(letter, f"the letter {letter}") for letter in self.tainted or ""])

    def fields(self, message: Callable[[Message], Any] | None = None) -> dict[str, Any]:
        """Return all fields by name, as values that the ``json`` module takes.

        ``source`` is an object with ``address`` and ``port``. ``taint`` is added.

        :param message: makes such a value of a message (:func:`netconsd.jsonl.to_json`, parsed); without it,
            ``messages`` and ``before`` are left out.
        """
        out: dict[str, Any] = {}
        for name in _NAMES:
            value = getattr(self, name)
            if name in _OF_MESSAGES:
                if message is not None:
                    out[name] = [message(one) for one in value]
            elif name == "frames":
                out[name] = [{key: getattr(frame, key) for key in _FRAME_NAMES} for frame in value]
            elif name == "source":
                out[name] = None if value is None else _source_fields(value)
            else:
                out[name] = list(value) if isinstance(value, tuple) else value
        out["taint"] = list(self.taint)
        return out

    @classmethod
    def from_fields(
        cls, values: Mapping[str, Any], messages: Iterable[Message] = (), before: Iterable[Message] = ()
    ) -> Report:
        """Return the report of :meth:`fields`; equal to the original one with the same messages.

        Unknown names are ignored, and missing ones have their defaults.

        :raises ValueError: if ``title``, ``kind`` or ``severity`` is missing or unknown, or a value has another type.
        """
        known = {name: values[name] for name in _NAMES if name in values and name not in _OF_MESSAGES}
        for name, words in (("kind", KINDS), ("severity", SEVERITIES)):
            if known.get(name) not in words:
                raise ValueError(f"{name} is {known.get(name)!r}, and not one of {', '.join(words)}")
        if not isinstance(known.get("title"), str):
            raise ValueError(f"title is {known.get('title')!r}, and not a text")
        try:
            known["alternatives"] = tuple(known.get("alternatives", ()))
            known["frames"] = tuple(
                [Frame(**{name: frame[name] for name in _FRAME_NAMES}) for frame in known.get("frames", ())]
            )
            source = known.get("source")
            known["source"] = None if source is None else _source_from(source)
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"alternatives, frames or source has another form: {error!r}") from error
        return cls(**known, messages=tuple(messages), before=tuple(before))


_NAMES: Final = tuple([one.name for one in fields(Report)])
_FRAME_NAMES: Final = tuple([one.name for one in fields(Frame)])
_OF_MESSAGES: Final = ("messages", "before")
_MAPPED: Final = bytes(10) + b"\xff\xff"


def _source_fields(source: Source) -> dict[str, Any]:
    return {"address": source.address.partition("%")[0], "port": source.port, "scope_id": source.scope}


def _source_from(values: Mapping[str, Any]) -> Source:
    packed = ip_address(values["address"]).packed
    return Source(_MAPPED + packed if len(packed) == 4 else packed, values["port"], values.get("scope_id", 0))


def release_of(message: Message) -> str | None:
    """Return the kernel's release that a message carries."""
    return message.release if isinstance(message, ExtendedMessage) else None
