"""The value of ``--from``: where the messages are taken from."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

from netconsd.settings import ConfigError

#: As the setting ``partitions`` of the module nats.
PARTITIONS: Final = 16
PARTITIONS_LIMIT: Final = 1024
#: The properties that a file of ``--broker-config`` can have for NATS.
NATS_KEYS: Final = ("user", "password", "token", "credentials", "ca_file", "certificate")
#: Those whose values are files, and those that need an address that begins with ``tls://``.
_FILES: Final = ("credentials", "ca_file", "certificate")
_OF_TLS: Final = ("ca_file", "certificate")
_EXAMPLES: Final = "nats://HOST:4222/STREAM or kafka://HOST:9092/TOPIC"


@dataclass(frozen=True)
class Address:
    """A broker, and the stream or topic in it."""

    kind: Literal["nats", "kafka"]
    #: HOST:PORT of each server that is asked first.
    servers: tuple[str, ...]
    #: The stream of NATS, or the topic of Kafka.
    name: str
    is_tls: bool = False

    def __str__(self) -> str:
        scheme = "tls" if self.is_tls else self.kind
        return f"{scheme}://{','.join(self.servers)}/{self.name}"


def parse(text: str) -> Address:
    """Return the address in ``--from``.

    :raises ConfigError: if it is none, with a text that names the option.
    """
    scheme, _, rest = text.partition("://")
    hosts, slash, name = rest.partition("/")
    if scheme not in ("nats", "tls", "kafka") or not slash:
        raise ConfigError(f'--from: "{_public(text)}" is not {_EXAMPLES}')
    if "@" in hosts:
        raise ConfigError("--from: names and passwords are in the file of --broker-config, not in the address")
    default = 9092 if scheme == "kafka" else 4222
    servers = tuple(_server(host, default) for host in hosts.split(","))
    if scheme == "kafka":
        if not re.fullmatch(r"[A-Za-z0-9._-]{1,249}", name):
            raise ConfigError(f'--from: "{name}" is no name of a topic: up to 249 letters, digits, ".", "_" and "-"')
        return Address("kafka", servers, name)
    if not re.fullmatch(r"[^\s.*>/\\]{1,200}", name):
        raise ConfigError(f'--from: "{name}" is no name of a stream: it has no space, ".", "*", ">", "/" or "\\"')
    return Address("nats", servers, name, scheme == "tls")


def group(text: str) -> str:
    """Return the name of a group.

    :raises ConfigError: for one that a broker would refuse.
    """
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,100}", text):
        raise ConfigError(f'--group: "{text}" is not up to 100 letters, digits, "_" and "-"')
    return text


def properties(path: Path, kind: str, *, is_tls: bool = True) -> dict[str, str]:
    """Return the lines ``KEY=VALUE`` of a file of ``--broker-config``, as Kafka's own tools have it.

    :param is_tls: whether the address begins with ``tls://``.
    :raises ConfigError: if it cannot be read, or has a line that is none, or for NATS names a file that cannot be read.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "is not UTF-8"
        raise ConfigError(f"--broker-config: {path}: {reason}") from None
    found: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        if not text or text.startswith(("#", "!")):
            continue
        key, equals, value = (part.strip() for part in text.partition("="))
        if not equals or not key:
            raise ConfigError(f"--broker-config: {path}:{number}: is not KEY=VALUE")
        if key in found:
            raise ConfigError(f"--broker-config: {path}:{number}: {key} is given twice")
        if kind == "nats" and key not in NATS_KEYS:
            raise ConfigError(f"--broker-config: {path}:{number}: {key} is not one of {', '.join(NATS_KEYS)}")
        if kind == "nats" and key in _OF_TLS and not is_tls:
            raise ConfigError(f"--broker-config: {path}:{number}: {key} needs an address that begins with tls://")
        if kind == "nats" and key in _FILES:
            try:
                Path(value).read_bytes()
            except (OSError, ValueError) as error:
                reason = getattr(error, "strerror", None) or error
                raise ConfigError(f"--broker-config: {path}:{number}: {key}: {value}: {reason}") from None
        found[key] = value
    return found


def _server(text: str, default: int) -> str:
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or port == 0 or parts.path or parts.query or parts.fragment:
        raise ConfigError(f'--from: "{text}" is not HOST or HOST:PORT')
    return f"[{host}]:{port or default}" if ":" in host else f"{host}:{port or default}"


def _public(text: str) -> str:
    """Return an address without a password in it."""
    return re.sub(r"//[^/@]*@", "//...@", text)
