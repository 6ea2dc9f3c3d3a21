"""What the values of ``netconsd client``'s options may be; the kernel's bounds, mostly.

The functions are for argparse: they return the value, or raise ``ArgumentTypeError`` with a text for the user.
"""

from __future__ import annotations

import re
from argparse import ArgumentTypeError

__all__ = ["SYSDATA", "interface_name", "system_data", "target_name", "userdata"]

#: What the kernel can add to a message, by the name of its file (NAME_enabled).
SYSDATA = ("cpu_nr", "taskname", "release", "msgid")
#: Beside netconsole's userdata these are directories or files of the kernel, or keys of sysdata (docs/wire section 4).
TAKEN = {*SYSDATA, "cpu", *(f"{name}_enabled" for name in SYSDATA)}
# MAX_EXTRADATA_NAME_LEN and MAX_EXTRADATA_VALUE_LEN of drivers/net/netconsole.c, without the final NUL.
KEY_BYTES = 53
VALUE_BYTES = 199


def target_name(text: str) -> str:
    """A name that can be a part of the name of a file and of a systemd unit."""
    if not re.fullmatch("[A-Za-z0-9][A-Za-z0-9_.-]{0,31}", text):
        raise ArgumentTypeError(
            f"{text!r} should be letters, digits, '_', '.' and '-', at most 32, a letter or digit first"
        )
    return text


def interface_name(text: str) -> str:
    """A name that an interface can have, and that netconsole's parameter can hold."""
    # IFNAMSIZ is 16 with its NUL; the kernel forbids '/', ':' and white space; the parameter ends a name at a ','.
    if not re.fullmatch(r"[^\s/:,;@]{1,15}", text) or text in (".", "..") or not text.isprintable():
        raise ArgumentTypeError(f"{text!r} cannot be the name of an interface")
    return text


def userdata(text: str) -> tuple[str, str]:
    """A key and its value."""
    key, equals, value = text.partition("=")
    if not equals or not key or not value:
        raise ArgumentTypeError(f"{text!r} should be KEY=VALUE, neither of them empty")
    if not re.fullmatch(r"[!-.0-~]+", key) or key.startswith("."):
        raise ArgumentTypeError(
            f"the key {key!r} should be ASCII characters without spaces and '/', not starting with '.'"
        )
    if key in TAKEN:
        raise ArgumentTypeError(f"the kernel itself uses the name {key}; take another one, or --sysdata")
    if len(key) > KEY_BYTES:
        raise ArgumentTypeError(f"the key {key!r} is longer than {KEY_BYTES} characters")
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise ArgumentTypeError(f"the value of {key} is not UTF-8") from None
    if size > VALUE_BYTES:
        raise ArgumentTypeError(f"the value of {key} has {size} bytes; the kernel takes {VALUE_BYTES}")
    if re.search(r"[\x00-\x1f\x7f]", value):
        raise ArgumentTypeError(f"the value of {key} has a control character in it")
    return key, value


def system_data(text: str) -> tuple[str, ...]:
    """Names of :data:`SYSDATA`, separated by commas, in the kernel's order."""
    named = set(SYSDATA if text == "all" else text.split(","))
    if wrong := sorted(named - set(SYSDATA)):
        raise ArgumentTypeError(f"{wrong[0]!r} is not one of {', '.join(SYSDATA)}, all")
    return tuple(name for name in SYSDATA if name in named)
