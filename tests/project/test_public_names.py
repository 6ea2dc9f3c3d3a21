"""The public API is the modules in the root of the package, with every name that docs/api documents."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

import netconsd
from netconsd import embedding, message

PACKAGE = Path(netconsd.__file__).parent
API = (PACKAGE.parent / "docs/api.rst").read_text(encoding="utf-8")
DOCUMENTED = re.findall(r"^\.\. auto(?:class|function|exception|data):: (netconsd[\w.]*\.\w+)", API, re.MULTILINE)


def test_the_root_holds_the_public_modules_only() -> None:
    """The root has the public modules, ``__init__``, ``__main__`` and ``build``, and no other."""
    public = {"embedding", "interfaces", "message", "names", "rendering", "service", "settings", "tap", "testing"}
    public |= {"crashes", "jsonl", "sinks", "units"}
    assert {file.stem for file in PACKAGE.glob("*.py")} == public | {"__init__", "__main__", "build"}


@pytest.mark.parametrize("name", DOCUMENTED)
def test_documented_name(name: str) -> None:
    """Each name in docs/api is importable from a module in the root that lists it in ``__all__``."""
    module, _, attribute = name.rpartition(".")
    assert module in {f"netconsd{room}" for room in ("", ".crashes", ".embedding", ".names", ".service", ".settings")}
    imported = importlib.import_module(module)
    assert hasattr(imported, attribute)
    assert attribute in imported.__all__


def test_every_name_of_embedding_is_documented() -> None:
    """docs/api documents each name in ``netconsd.embedding.__all__``."""
    assert [name for name in embedding.__all__ if f"netconsd.embedding.{name}" not in DOCUMENTED] == []


def test_message_exports_the_classes_of_the_package() -> None:
    """``netconsd.message`` has the classes of the package itself."""
    for name in message.__all__:
        assert getattr(message, name) is getattr(netconsd, name)
