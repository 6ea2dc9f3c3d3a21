"""Install a wheel where Debian's Python finds it: python3 install-wheel.py BUILDROOT WHEEL. A part of the macros."""

from __future__ import annotations

import sys

from installer import install
from installer.destinations import SchemeDictionaryDestination
from installer.sources import WheelFile

_PACKAGES = "/usr/lib/python3/dist-packages"
_SCHEME = {"purelib": _PACKAGES, "platlib": _PACKAGES, "scripts": "/usr/bin", "headers": "/usr/include", "data": "/usr"}

buildroot, path = sys.argv[1:]
with WheelFile.open(path) as wheel:
    destination = SchemeDictionaryDestination(
        _SCHEME, interpreter="/usr/bin/python3", script_kind="posix", destdir=buildroot
    )
    install(wheel, destination, additional_metadata={})
