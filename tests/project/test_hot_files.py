"""The types of the hot files: declarations that cost time in each call."""

import re
from pathlib import Path

import netconsd

TYPES = sorted(Path(netconsd.__file__).parent.rglob("*.pxd"))
FUNCTION = re.compile(r"^ *cp?def (?:inline )?bint \w+\([^)]*\)[^\n:]*", re.MULTILINE)


def test_conditions_declare_how_they_fail() -> None:
    """Without ``except -1`` or ``noexcept``, each caller of a ``bint`` function asks Python for a pending exception."""
    functions = [match[0] for path in TYPES for match in FUNCTION.finditer(path.read_text())]
    assert len(functions) >= 20
    assert [function for function in functions if "except" not in function] == []
