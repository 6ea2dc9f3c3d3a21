"""The compactor's process: pyarrow does not import pandas into it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'netconsd[store]'")


def test_the_compactor_imports_no_pandas(tmp_path: Path) -> None:
    """A compactor runs to its end where the import of pandas would end it."""
    (tmp_path / "found").mkdir()
    pandas = tmp_path / "found" / "pandas"
    pandas.mkdir()
    # No exception that pyarrow handles.
    (pandas / "__init__.py").write_text("import os\nos._exit(7)\n")
    store = tmp_path / "store"
    store.mkdir()
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-m", "netconsd.store.compactor", str(store), "--once"],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path / "found"), root])},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"stored": 0' in done.stdout
