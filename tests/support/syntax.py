"""What files of Python import, from their syntax."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]


def syntax(file: Path) -> ast.Module:
    """The syntax tree of a file; without anything in it for a .pyx, which is no Python."""
    if file.suffix == ".pyx":
        return ast.Module([], [])
    return ast.parse(file.read_text(encoding="utf-8"), str(file))


def imports(file: Path) -> set[str]:
    """The full names of all modules that a file imports when it runs, also inside functions."""
    tree = syntax(file)
    for node in ast.walk(tree):
        # Nothing runs under ``if TYPE_CHECKING``.
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            node.body = []
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} has a relative import"
            module = node.module or ""
            is_room = module == "netconsd" or (ROOT / module.replace(".", "/")).is_dir()
            names.update(f"{module}.{alias.name}" if is_room else module for alias in node.names)
    return names
