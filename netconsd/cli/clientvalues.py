"""Checks of the values of ``netconsd client``'s options, mostly against the kernel's bounds.

The functions are types for argparse: they return the value, or raise ``ArgumentTypeError`` with a text for the user.
"""

from __future__ import annotations

import re
from argparse import ArgumentTypeError

#: The fields that the kernel can add to a message, by the names of their files (NAME_enabled).
SYSDATA = ("cpu_nr", "taskname", "release", "msgid")
#: Keys that userdata cannot have: names of the kernel's files, or keys of sysdata (docs/wire section 4).
RESERVED = {*SYSDATA, "cpu", *(f"{name}_enabled" for name in SYSDATA)}
# MAX_EXTRADATA_NAME_LEN and MAX_EXTRADATA_VALUE_LEN of drivers/net/netconsole.c, without the final NUL.
KEY_BYTES = 53
VALUE_BYTES = 199


def target_name(text: str) -> str:
    """A name that is valid within the name of a file and of a systemd unit."""
    if not re.fullmatch("[A-Za-z0-9][A-Za-z0-9_.-]{0,31}", text):
        raise ArgumentTypeError(
            f"{text!r} is not a name of at most 32 letters, digits, '_', '.' and '-' with a letter or digit first"
        )
    return text


def interface_name(text: str) -> str:
    """A name that is valid for an interface and within netconsole's parameter."""
    # IFNAMSIZ is 16 with its NUL; the kernel forbids '/', ':' and white space; netconsole ends the name at a ','.
    if not re.fullmatch(r"[^\s/:,;@]{1,15}", text) or text in (".", "..") or not text.isprintable():
        raise ArgumentTypeError(f"{text!r} cannot be the name of an interface")
    return text


def userdata(text: str) -> tuple[str, str]:
    """A key and its value."""
    key, equals, value = text.partition("=")
    if not equals or not key or not value:
        raise ArgumentTypeError(f"{text!r} is not KEY=VALUE with a key and a value")
    if not re.fullmatch(r"[!-.0-~]+", key) or key.startswith("."):
        raise ArgumentTypeError(
            f"the key {key!r} must be ASCII characters without spaces and '/', and not start with '.'"
        )
    if key in RESERVED:
        raise ArgumentTypeError(f"the kernel itself uses the name {key}; use another key, or --sysdata")
    if len(key) > KEY_BYTES:
        raise ArgumentTypeError(f"the key {key!r} is longer than {KEY_BYTES} characters")
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise ArgumentTypeError(f"the value of {key} is not UTF-8") from None
    if size > VALUE_BYTES:
        raise ArgumentTypeError(f"the value of {key} has {size} bytes; the kernel accepts {VALUE_BYTES}")
    if re.search(r"[\x00-\x1f\x7f]", value):
        raise ArgumentTypeError(f"the value of {key} contains a control character")
    return key, value


def system_data(text: str) -> tuple[str, ...]:
    """Names of :data:`SYSDATA`, separated by commas, in the kernel's order."""
    names = set(SYSDATA if text == "all" else text.split(","))
    if unknown := sorted(names - set(SYSDATA)):
        raise ArgumentTypeError(f"{unknown[0]!r} is not one of {', '.join(SYSDATA)}, all")
    return tuple(name for name in SYSDATA if name in names)
