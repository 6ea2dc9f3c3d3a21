"""Keeps pandas out of a process of netconsd's own.

pyarrow imports pandas for its first array or scalar if it is installed (pyarrow 26, ``_is_array_like``): 0.3 s of CPU
and 57 MB, for nothing that a store needs.
"""

from __future__ import annotations

import sys
from importlib.abc import MetaPathFinder
from typing import Any, Final

_REFUSED: Final = "pandas"


class _Refusal(MetaPathFinder):
    def find_spec(self, fullname: str, path: Any, target: Any = None) -> None:
        """Refuse the import of pandas; the other finders are asked for everything else."""
        if fullname == _REFUSED:
            raise ModuleNotFoundError(f"the store uses pyarrow without {_REFUSED}", name=fullname)


def refuse() -> None:
    """Have pandas not be imported from now on. Only for a process in which no code of a user runs."""
    sys.meta_path.insert(0, _Refusal())
