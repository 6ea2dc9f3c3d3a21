"""Messages of a fleet of kernels, made from the texts of real ones: the load of the proof ``store``.

The same number of messages is always the same messages. Their parts:

- ``kernel_texts.txt``: the level and the text of 900 lines of recordings of kernels 6.1 to 7.3, while they booted and
  crashed, the most frequent first. Machines of one model print the same numbers; addresses differ always.
- ``kernel_texts_running.txt``: the same of machines that run; ``#`` is a digit, which differs in every message.
- Of 5,000 machines, each fifth sends userdata, msgid, processor and task, and each twentieth the legacy format. A
  machine boots again after some hundred messages; the release is that of its boot. Messages are sent in bursts of one
  machine.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import ip_address
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import Final

from netconsd.protocol.counters import WorkerCounters
from netconsd.protocol.message import MAPPED_IPV4, Message
from netconsd.protocol.table import SourceTable

SENDERS: Final = 5_000
#: Messages of the fleet in a second.
RATE: Final = 1_000
#: Datagrams that are processed at once, about as many as the daemon reads.
BATCH: Final = 512
MODELS: Final = 8
#: Messages of a machine until it boots again.
BOOT_MESSAGES: Final = (300, 1500)
RELEASES: Final = (
    "6.1.0-50-amd64",
    "6.12.107+deb13-amd64",
    "6.12.117+deb13-amd64",
    "7.2.13-amd64",
    "7.3.4+deb13-amd64",
)

#: A text that one of 500,000 messages has, and one that none has.
RARE: Final = "Quarantined"
ABSENT: Final = "Xylophone"
#: A text that one of some twenty messages has.
FREQUENT: Final = "Link is Down"
#: An expression with a rare word, and one whose words many messages have, although it matches few.
RARE_REGEX: Final = rf"offset 0x[0-9]+ {RARE} after [1-9]+ "
SCAN_REGEX: Final = r"I/O error, dev sd[a-f], sector 4[0-9]{4}77[0-9] op"
_RARE_TEXT: Final = (2, f"EDAC MC0: page 0x######## offset 0x### {RARE} after ## corrected errors")
_RARE_EACH: Final = 500_000
_RARE_FIRST: Final = 1_000

#: Messages of each burst.
_BURSTS: Final = (1, 1, 1, 1, 2, 3, 5, 24)
_NUMBERS: Final = re.compile(r"0x[0-9a-f]+|\b[0-9a-f]{8,}\b|\d+")
_TASKS: Final = ("swapper/0", "kworker/3:1", "java", "nginx", "ksoftirqd/2")


class Machine:
    """A sender."""

    def __init__(self, number: int, random: Random, begin: float) -> None:
        self.address = str(ip_address(0x0A000000 + number))
        self.key = MAPPED_IPV4 + ip_address(self.address).packed
        self.model = number % MODELS
        self.legacy = number % 20 == 7
        self.rich = number % 5 == 1
        self.tail = f"\n rack=r{number // 40}\n role={('web', 'db', 'cache')[number % 3]}" if self.rich else ""
        self.msgid = 0
        self.last = 0
        # Not all machines boot at once.
        self.boot(random, begin - random.random() * 86400)
        self.seq = random.randrange(self.last)

    def boot(self, random: Random, now: float) -> None:
        """Begin with seq 0 and the time 0."""
        self.seq = 0
        self.last = random.randint(*BOOT_MESSAGES)
        self.booted = now
        self.release = random.choice(RELEASES)


class Fleet:
    """Makes the messages, in order; ``begin`` is the Unix time of the first."""

    def __init__(self, begin: float, senders: int = SENDERS) -> None:
        self.begin = begin
        self.count = 0
        self.random = Random(13)
        self.machines = [Machine(number, self.random, begin) for number in range(senders)]
        # A worker can have more senders than its share.
        limit = 2 * senders
        self._table = SourceTable(WorkerCounters(), limit=limit, reorder_time=0.2, gc_interval=0.0, age=1e9)
        running = [(level, _template(text)) for level, text in _texts("kernel_texts_running.txt")]
        forms = _texts("kernel_texts.txt")
        # Texts of running machines are two of three; in each group the first are the most frequent.
        weights = [2 / (5 + rank) for rank in range(len(running))]
        weights += [0.1 / (5 + rank) ** 0.7 for rank in range(len(forms))]
        self._weights = list(accumulate(weights))
        self._forms: list[list[tuple[int, tuple[int, str]]]] = []
        for model in range(MODELS):
            of_model = Random(model)
            self._forms.append(running + [(level, _template(_of_model(text, of_model))) for level, text in forms])
        self._rare = (_RARE_TEXT[0], _template(_RARE_TEXT[1]))

    def batches(self, messages: int) -> Iterator[list[Message]]:
        """Yield the next messages as a worker delivers them."""
        end = self.count + messages
        source = self._datagrams()
        while self.count < end:
            keys, datagrams = [], []
            for _ in range(min(BATCH, end - self.count)):
                key, datagram = next(source)
                keys.append(key)
                datagrams.append(datagram)
            now = self.begin + self.count / RATE
            self.count += len(keys)
            # Later than the reorder time, so that nothing is held.
            yield self._table.feed(keys, datagrams, now, now, now + 1)

    def _datagrams(self) -> Iterator[tuple[bytes, bytes]]:
        random, bits, pick = self.random.random, self.random.getrandbits, self.random.choices
        machines, weights = self.machines, self._weights
        number = self.count
        while True:
            machine = machines[int(random() * len(machines))]
            forms = self._forms[machine.model]
            size = _BURSTS[int(random() * len(_BURSTS))]
            for level, (digits, text) in pick(forms, cum_weights=weights, k=size):
                if number % _RARE_EACH == _RARE_FIRST:
                    level, (digits, text) = self._rare
                now = self.begin + number / RATE
                number += 1
                machine.seq += 1
                if machine.seq > machine.last:
                    machine.boot(self.random, now)
                usec = int((now - machine.booted) * 1e6)
                if digits:
                    # 90 digits or some more: more than any form has.
                    text %= tuple(str(bits(320))[-digits:])
                yield machine.key, self._datagram(machine, level, text, usec)

    def _datagram(self, machine: Machine, level: int, text: str, usec: int) -> bytes:
        if machine.legacy:
            return f"[{usec // 1_000_000:5d}.{usec % 1_000_000:06d}] {text}\n".encode()
        head = f"{level},{machine.seq},{usec},-"
        if not machine.rich:
            return f"{head};{text}\n".encode()
        machine.msgid += 1
        task = machine.msgid * 7 % len(_TASKS)
        return (
            f"{head};{text}{machine.tail}\n cpu={task}\n taskname={_TASKS[task]}\n release={machine.release}\n"
            f" msgid={machine.msgid}\n"
        ).encode()


def _texts(name: str) -> list[tuple[int, str]]:
    """Return the levels and texts of a file."""
    lines = (Path(__file__).parent / name).read_text().splitlines()
    return [(int(line[0]), line[2:]) for line in lines]


def _template(text: str) -> tuple[int, str]:
    """Return the number of digits to fill in, and a format with a place for each."""
    digits = text.count("#")
    # Texts without a digit are used as they are.
    return digits, text.replace("%", "%%").replace("#", "%s") if digits else text


def _of_model(text: str, random: Random) -> str:
    """Replace the numbers of a text by those of a model; leave a place for each digit of an address."""

    def other(match: re.Match[str]) -> str:
        number = match[0]
        if len(number) >= 12:
            return number[:6] + "#" * (len(number) - 6)
        if random.random() < 0.7:
            return number
        return "".join(random.choice("123456789") if digit.isdigit() else digit for digit in number)

    return _NUMBERS.sub(other, text.replace("#", ""))
