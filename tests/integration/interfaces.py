"""A service whose address and interface go and come back, in a network namespace of its own:
``python -m tests.integration.interfaces``.

Prints a line of JSON for each step: the step, whether a message was received, and what /readyz says.
"""

from __future__ import annotations

import ctypes
import json
import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from typing import Any

from twisted.internet import reactor as default_reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

import netconsd.monitor.pages
import netconsd.service
from netconsd.service import NetconsdService
from netconsd.settings import Settings
from tests.support.loopback import Arrivals

CLONE_NEWNET = 0x40000000  # linux/sched.h
LINK_LOCAL = "fe80::77"
ADDRESS = "10.77.9.1"
reactor: Any = default_reactor


def ip(arguments: str) -> None:
    """Run ip; it waits until an IPv6 address is ready, because of nodad."""
    subprocess.run(["ip", *arguments.split()], check=True)


def create() -> None:
    """Create the interface with its addresses."""
    ip("link add eth9 type veth peer name peer9")
    ip("link set peer9 up")
    ip("link set eth9 up")
    ip(f"-6 addr add {LINK_LOCAL}/64 dev eth9 nodad")
    ip(f"addr add {ADDRESS}/24 dev eth9")


def readiness(url: str) -> str:
    """The text of /readyz."""
    try:
        with urllib.request.urlopen(url.replace("/metrics", "/readyz"), timeout=30) as page:
            return str(page.read().decode())
    except urllib.error.HTTPError as error:
        with error:
            return str(error.read().decode())


async def until(service: NetconsdService, wanted: str) -> str:
    """Ask /readyz until it has this text."""
    assert service._bound is not None and service._bound.monitoring is not None
    while True:
        text: str = await deferToThread(readiness, service._bound.monitoring.url)
        if wanted in text:
            return text
        await deferLater(reactor, 0.05)


def send(address: str, port: int, text: str) -> None:
    """Send a line."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as sender:
        target = socket.getaddrinfo(address, port, type=socket.SOCK_DGRAM)[0][4]
        sender.sendto(text.encode() + b"\n", target)


async def watch(address: str, vanish: str, gone: str) -> None:
    """Receive; let the address vanish; let it come back; receive again."""
    module = Arrivals()
    service = NetconsdService(
        {"module": module}, Settings(port=0, address=address, metrics="0", workers=1, rcvbuf=65536)
    )
    service.startService()
    await service.started
    send(address, service.port, "before")
    await module.number(1)
    print(json.dumps(["before", module.texts, await until(service, "ok")]), flush=True)
    ip(vanish)
    print(json.dumps(["gone", module.texts, await until(service, gone)]), flush=True)
    if vanish.startswith("link"):
        create()
    else:
        ip(f"addr add {ADDRESS}/24 dev eth9")
    text = await until(service, "ok")
    send(address, service.port, "after")
    await module.number(2)
    print(json.dumps(["back", module.texts, text]), flush=True)
    await service.stopService()


async def main() -> None:
    """Both kinds of sockets."""
    await watch(ADDRESS, f"addr del {ADDRESS}/24 dev eth9", "no address of this machine")
    await watch(f"{LINK_LOCAL}%eth9", "link del eth9", "interface eth9 is gone")


def run() -> None:
    """Enter a new namespace, and run the reactor until all is done."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "unshare")
    # The sockets are looked at more often than every second.
    vars(netconsd.service)["LOOK_SECONDS"] = vars(netconsd.monitor.pages)["KEEP_SECONDS"] = 0.05
    ip("link set lo up")
    create()
    failures: list[object] = []
    done = Deferred.fromCoroutine(main())
    done.addErrback(failures.append).addBoth(lambda _: reactor.callLater(0, reactor.stop))
    reactor.run()
    for failure in failures:
        print(failure)
    sys.stdout.flush()
    os._exit(bool(failures))


if __name__ == "__main__":
    run()
