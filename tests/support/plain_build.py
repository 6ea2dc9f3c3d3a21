"""The hot files in plain Python, loaded beside the compiled ones."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import netconsd

PACKAGE = Path(netconsd.__file__).parent
#: The files that are compiled, where there is a compiler. The others' types are compiled into those that use them.
HOT = sorted(
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
    for path in PACKAGE.rglob("*.pxd")
    if path.stem not in ("octets", "_sockets")
)


def full_name(name: str) -> str:
    """The dotted name of the module in a room that has this file name."""
    files = [
        file for suffix in ("py", "pyx") for file in PACKAGE.glob(f"*/{name}.{suffix}") if file.parent.name != "cli"
    ]
    (file,) = files
    return f"netconsd.{file.parent.name}.{file.stem}"


class PlainBuild:
    """A second set of the hot modules, from the ``.py`` files; its modules are attributes, by their short names.

    They know only each other, and what else of netconsd they import, plain as well. To pickle what is made of them,
    :meth:`in_place` has to be entered, because they have the names of those that they are twins of.
    """

    def __init__(self, *others: str, loader: Callable[[str, str], SourceFileLoader] = SourceFileLoader) -> None:
        """
        :param others: more modules, which are not compiled themselves, but use those that are.
        :param loader: called with name and path; what loads the sources.
        """
        # Nothing that is compiled can be imported from this package.
        package = ModuleType("netconsd")
        package.__path__ = []
        self._modules = {"netconsd": package}
        with self.in_place():
            finder = _SourcesOnly(loader)
            sys.meta_path.insert(0, finder)
            try:
                for name in (*HOT, *others):
                    importlib.import_module(f"netconsd.{name}")
            finally:
                sys.meta_path.remove(finder)
            self._modules = {name: module for name, module in sys.modules.items() if _is_ours(name)}

    def __getattr__(self, name: str) -> Any:
        return self._modules[full_name(name)]

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """While this lasts, an import of netconsd finds these modules, and no others."""
        others = {name: sys.modules.pop(name) for name in list(sys.modules) if _is_ours(name)}
        sys.modules.update(self._modules)
        try:
            yield
        finally:
            for name in [name for name in sys.modules if _is_ours(name)]:
                del sys.modules[name]
            sys.modules.update(others)


class _SourcesOnly(MetaPathFinder):
    """Finds the ``.py`` file of a module of netconsd, where everybody else finds the compiled one."""

    def __init__(self, loader: Callable[[str, str], SourceFileLoader]) -> None:
        self._loader = loader

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        place = PACKAGE.joinpath(*fullname.split(".")[1:])
        file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
        if not _is_ours(fullname) or not file.exists():
            return None
        searched = [str(place)] if place.is_dir() else None
        return spec_from_file_location(
            fullname, file, loader=self._loader(fullname, str(file)), submodule_search_locations=searched
        )


def _is_ours(name: str) -> bool:
    return name == "netconsd" or name.startswith("netconsd.")
