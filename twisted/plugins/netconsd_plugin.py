"""Registers ``twistd netconsd``. Every twistd on the machine reads this file, so it imports nothing of netconsd."""

from __future__ import annotations

from twisted.application.service import ServiceMaker

netconsd = ServiceMaker(
    "netconsd", "netconsd.tap", "Receive kernel logs sent with netconsole and hand them to output modules.", "netconsd"
)
