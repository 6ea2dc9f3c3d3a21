"""The public API: the modules in the root of the package, and every name that docs/api documents."""

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
    """The root of the package holds the modules that programs import, and three that Python and tests need."""
    public = {"embedding", "interfaces", "message", "rendering", "service", "settings", "tap", "testing"}
    assert {file.stem for file in PACKAGE.glob("*.py")} == public | {"__init__", "__main__", "build"}


@pytest.mark.parametrize("name", DOCUMENTED)
def test_documented_name(name: str) -> None:
    """A name in docs/api can be imported from a module in the root, whose ``__all__`` lists it."""
    module, _, attribute = name.rpartition(".")
    assert module in ("netconsd", "netconsd.embedding", "netconsd.service", "netconsd.settings")
    imported = importlib.import_module(module)
    assert hasattr(imported, attribute)
    assert attribute in imported.__all__


def test_embedding_documents_all_that_it_exports() -> None:
    """docs/api and docs/embedding name everything in ``netconsd.embedding.__all__``."""
    text = API + (PACKAGE.parent / "docs/embedding.rst").read_text(encoding="utf-8")
    text += (PACKAGE.parent / "docs/native.rst").read_text(encoding="utf-8")
    assert [name for name in embedding.__all__ if not re.search(rf"\b{name}\b", text)] == []


def test_message_exports_the_classes_of_the_package() -> None:
    """``netconsd.message`` has the same classes as the package itself."""
    for name in message.__all__:
        assert getattr(message, name) is getattr(netconsd, name)
