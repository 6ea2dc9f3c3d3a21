"""The names of the logger's files: a template with fields, and the host names that are safe in one."""

from __future__ import annotations

import re
from typing import Final

ADDRESS: Final = "{address}"
HOST: Final = "{host}"
PORT: Final = "{port}"

# Linux allows 255 bytes (NAME_MAX); the longest address has 39, a port 5, and rotation adds a number.
NAME_LIMIT: Final = 200
#: Bytes of a host name. The 253 bytes that DNS allows (RFC 1035) would leave no room for the rest of a file name.
HOST_LIMIT: Final = 128

# Letters, digits and hyphens (RFC 1123), and the underscore, which is in common use; a label has 63 bytes at most.
_LABEL: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")


def host_name(text: str) -> str | None:
    """Return a host name in lower case if it is safe in a file name, otherwise None.

    The holder of an address chooses its name in DNS. A safe name has labels of letters, digits, ``-`` and ``_`` with
    dots between, and at most :data:`HOST_LIMIT` bytes. Its last label is not a number, so that it can be neither the
    file of another machine's address nor a rotated file, ``NAME.1``.
    """
    name = text.lower().removesuffix(".")
    labels = name.split(".")
    if len(name) > HOST_LIMIT or not all(_LABEL.fullmatch(label) for label in labels) or labels[-1].isdigit():
        return None
    return name


def checked_template(name: str) -> str:
    """Return the template, which gives each sender a file in the directory.

    :raises ValueError: for an unusable template, with a text for the user that begins with ``name:``.
    """
    fixed = name.replace(ADDRESS, "").replace(PORT, "").replace(HOST, "")
    limit = NAME_LIMIT - HOST_LIMIT if HOST in name else NAME_LIMIT
    error = None
    if "{" in fixed or "}" in fixed:
        error = "has braces other than those of the fields {address}, {host} and {port}"
    elif ADDRESS not in name and HOST not in name:
        error = "does not contain {address} or {host}: all senders would share a file"
    elif "/" in name:
        error = 'contains "/": set the directory instead'
    elif not name.isprintable():
        error = "contains a control character"
    elif name.startswith("."):
        error = 'starts with "."'
    elif "}{" in name:
        error = "has two fields without a separator between them"
    elif len(fixed.encode()) > limit:
        error = f"is longer than {limit} bytes"
    if error:
        raise ValueError(f'name: "{name}" {error}')
    return name
