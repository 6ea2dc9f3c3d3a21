"""``netconsd process``: takes messages out of a broker, and runs the modules on them (docs/processing)."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from twisted.application.service import IService
from twisted.python import usage

from netconsd.cli.run import foreground
from netconsd.daemon.signals import StopSignals
from netconsd.process.address import PARTITIONS, PARTITIONS_LIMIT, Address, group, parse, properties
from netconsd.process.service import ProcessingService
from netconsd.settings import ConfigError, Settings
from netconsd.tap import Options, makeService

#: The daemon's options that have no effect here: nothing is received from a socket.
OF_RECEPTION = (
    *("port", "address", "listeners", "batch", "gc", "rcvbuf", "reorder", "framing", "pause", "allow", "rate", "acks"),
    "selftest",
)
_LIBRARIES = {"nats": ("nats", "nats"), "kafka": ("confluent_kafka", "kafka")}


class ProcessOptions(Options):
    """The daemon's options, and those of the broker."""

    synopsis = "Usage: netconsd process --from nats://HOST:PORT/STREAM --group NAME [options] [MODULE ...]"
    longdesc = (
        "Takes messages of the kernel out of a stream of NATS JetStream or a topic of Kafka, to which the modules nats "
        'and kafka of receivers have sent them with format = "blocks", and hands them to output modules. Processors of '
        "one group share the work."
    )
    hint = "netconsd process --help lists the options"
    optParameters = [
        ["from", None, None, "the broker: nats://HOST[:PORT],.../STREAM, tls://... or kafka://HOST[:PORT],.../TOPIC"],
        ["group", None, None, "name of the group of processors that share the messages"],
        ["partitions", None, None, f"NATS: the setting partitions of the module nats [default: {PARTITIONS}]"],
        ["subject", None, None, "NATS: the setting subject of the module nats [default: netconsd]"],
        ["broker-config", None, None, "file with KEY=VALUE lines: passwords, certificates, properties of librdkafka"],
    ]

    #: Set by parsing, if there is no error.
    broker: Address
    group: str
    partitions: int
    subject: str
    properties: Mapping[str, str]

    def postOptions(self) -> None:
        """Check the options of the broker, then as the daemon's."""
        for name in OF_RECEPTION:
            if self.get(name):
                raise usage.UsageError(f"--{name} is about the reception from a socket, and has no effect here")
        if self._networks:
            raise usage.UsageError("--allow is about the reception from a socket, and has no effect here")
        for name in ("from", "group"):
            if self[name] is None:
                raise usage.UsageError(f"--{name} is missing")
        self.broker = parse(self["from"])
        self.group = group(self["group"])
        if self.broker.kind == "kafka":
            for name in ("partitions", "subject"):
                if self[name] is not None:
                    raise usage.UsageError(f"--{name} is for NATS: the topic knows its partitions")
        self.partitions = _partitions(self["partitions"])
        self.subject = "netconsd" if self["subject"] is None else self["subject"]
        path = self["broker-config"]
        self.properties = {} if path is None else properties(Path(path), self.broker.kind, is_tls=self.broker.is_tls)
        library, extra = _LIBRARIES[self.broker.kind]
        if find_spec(library) is None:
            raise ConfigError(f"--from: needs the Python package {library}: pip install 'netconsd[{extra}]'")
        if "credentials" in self.properties and find_spec("nkeys") is None:
            raise ConfigError("--broker-config: credentials needs the Python package nkeys: pip install nkeys")
        super().postOptions()


def _partitions(text: str | None) -> int:
    if text is None:
        return PARTITIONS
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text) <= PARTITIONS_LIMIT:
        raise ConfigError(f"--partitions: {text} is not from 1 to {PARTITIONS_LIMIT}")
    return int(text)


def main(arguments: Sequence[str] | None = None, prog: str = "netconsd process") -> int:
    """Process until a signal stops it.

    :returns: as :func:`netconsd.cli.run.main`.
    :raises SystemExit: with the text for the user, for errors in the options or modules; status 1.
    """
    options = ProcessOptions()
    options.parseOptions(list(sys.argv[1:] if arguments is None else arguments))
    number = foreground(options, prog, partial(_make, options))
    if number in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)
    return 0


def _make(options: ProcessOptions, _: Options, stop_signals: StopSignals) -> IService:
    return makeService(options, stop_signals, make=partial(service, options))


def service(options: ProcessOptions, modules: Mapping[str, Any], settings: Settings) -> ProcessingService:
    """Return the service for parsed options."""
    client: Callable[..., Any]
    if options.broker.kind == "nats":
        from netconsd.process.natsclient import NatsClient

        client = partial(
            NatsClient,
            address=options.broker,
            group=options.group,
            subject=options.subject,
            partitions=options.partitions,
            properties=options.properties,
        )
    else:
        from netconsd.process.kafkaclient import KafkaClient

        client = partial(KafkaClient, address=options.broker, group=options.group, properties=options.properties)
    return ProcessingService(modules, settings, client=client, where=str(options.broker))
