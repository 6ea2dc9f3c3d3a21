"""The hot files in plain Python, loaded in addition to the compiled files."""

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
#: The modules that are compiled. The five .pxd files without a module are compiled into the modules that use them.
HOT = sorted(
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
    for path in PACKAGE.rglob("*.pxd")
    if path.stem not in ("memory", "octets", "packing", "_sockets", "search")
)


def full_name(name: str) -> str:
    """Return the dotted name of the module with this file name; of the hot one if there are others."""
    files = [file for suffix in ("py", "pyx") for file in PACKAGE.glob(f"*/{name}.{suffix}")]
    names = [f"{file.parent.name}.{file.stem}" for file in files if file.parent.name != "cli"]
    (found,) = [one for one in names if one in HOT] or names
    return f"netconsd.{found}"


class PlainBuild:
    """A second set of the hot modules, from the ``.py`` files, as attributes by their short names.

    They and their imports from netconsd are all in plain Python. Their names are those of the compiled modules, so that
    pickling their objects needs :meth:`in_place`.
    """

    def __init__(self, *others: str, loader: Callable[[str, str], SourceFileLoader] = SourceFileLoader) -> None:
        """
        :param others: further modules that import the compiled modules.
        :param loader: called with name and path; returns the loader of the source.
        """
        # A package without a path, so that no compiled module can be imported from it.
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
        """Within this context, an import of netconsd finds only these modules."""
        others = {name: sys.modules.pop(name) for name in list(sys.modules) if _is_ours(name)}
        sys.modules.update(self._modules)
        try:
            yield
        finally:
            for name in [name for name in sys.modules if _is_ours(name)]:
                del sys.modules[name]
            sys.modules.update(others)


class _SourcesOnly(MetaPathFinder):
    """Finds the ``.py`` file of a module of netconsd instead of the compiled file."""

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
