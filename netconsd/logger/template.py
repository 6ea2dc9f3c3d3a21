"""The names of the logger's files: a template with fields, and which host names may stand in one."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["ADDRESS", "HOST", "HOST_LIMIT", "PORT", "check_template", "host_name"]

ADDRESS: Final = "{address}"
HOST: Final = "{host}"
PORT: Final = "{port}"

# Linux allows 255 bytes (NAME_MAX); the longest address has 39, a port 5, and rotation adds a number.
NAME_LIMIT: Final = 200
#: Bytes of a host name. DNS allows 253 (RFC 1035), which would leave no room for anything else in a file's name.
HOST_LIMIT: Final = 128

# Letters, digits and hyphens (RFC 1123), and the underscore that people use all the same; a label has 63 at most.
_LABEL: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")


def host_name(text: str) -> str | None:
    """Return a host name as it may stand in the name of a file, in lower case, or None if it may not.

    Whoever holds an address chooses its name in DNS. What is returned has labels of letters, digits, ``-`` and ``_``
    with dots between, is no longer than :data:`HOST_LIMIT`, and cannot be taken for an address: its last label is not
    a number, so that nobody writes to the file of another machine's address, or to one that was renamed to ``NAME.1``.
    """
    name = text.lower().removesuffix(".")
    labels = name.split(".")
    if len(name) > HOST_LIMIT or not all(_LABEL.fullmatch(label) for label in labels) or labels[-1].isdigit():
        return None
    return name


def check_template(name: str) -> None:
    """See that a template gives each sender a file in the directory.

    :raises ValueError: if it does not, with a text for the user that begins with ``name:``.
    """
    fixed = name.replace(ADDRESS, "").replace(PORT, "").replace(HOST, "")
    limit = NAME_LIMIT - HOST_LIMIT if HOST in name else NAME_LIMIT
    wrong = None
    if "{" in fixed or "}" in fixed:
        wrong = "has braces other than those of the fields {address}, {host} and {port}"
    elif ADDRESS not in name and HOST not in name:
        wrong = "does not contain {address} or {host}: all senders would share a file"
    elif "/" in name:
        wrong = 'contains "/": set the directory instead'
    elif not name.isprintable():
        wrong = "contains a control character"
    elif name.startswith("."):
        wrong = 'starts with "."'
    elif "}{" in name:
        wrong = "has nothing between two fields, which would run into one another"
    elif len(fixed.encode()) > limit:
        wrong = f"is longer than {limit} bytes"
    if wrong:
        raise ValueError(f'name: "{name}" {wrong}')
