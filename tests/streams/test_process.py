"""The process of a stream: its task, its settings, and the end of a call that hangs."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from netconsd.store.lock import Lock
from netconsd.streams import process
from netconsd.streams.delivery import Counts, Limits
from netconsd.streams.module import environment
from netconsd.streams.process import HANG_SECONDS, Task, made, plain
from netconsd.units import Duration, Size

MODULE = """
from pathlib import Path
from typing import Any, Literal
from netconsd.sinks import Stream
from netconsd.units import Duration, Size

class Typed(Stream):
    def __init__(self, *, size: Size = Size("1K"), age: Duration | None = None, path: Path | None = None,
                 names: list[str] | None = None, pair: tuple[int, str] = (1, "a"), kind: Literal["x", "y"] = "x",
                 flag: bool = False, table: dict[str, float] | None = None, **settings: Any):
        super().__init__(**settings)
        self.values = size, age, path, names, pair, kind, flag, table
"""


def test_settings_arrive_as_they_were(tmp_path: Path) -> None:
    """Each type of a setting is the same in the process, also those of every stream."""
    path = tmp_path / "typed.py"
    path.write_text(MODULE)
    values: dict[str, Any] = {
        "size": Size("3G"), "age": Duration("1.5h"), "path": Path("/x y"), "names": ["a", "b"], "pair": (2, "c"),
        "kind": "y", "flag": True, "table": {"k": 0.5}, "level": "err", "store": None,
        "batch_seconds": Duration("0.25s"),
    }  # fmt: skip
    settings = json.loads(json.dumps({name: plain(value) for name, value in values.items()}))
    module: Any = made(path, "Typed", settings)
    assert list(module.values) == list(values.values())[:8]
    assert [type(value) for value in module.values[:3]] == [Size, Duration, type(Path())]
    assert (module._level, module._store, module._limits.seconds) == ("err", None, 0.25)


def test_a_task_is_a_line() -> None:
    """A task is the same after its line."""
    task = Task("f", "C", {"a": [1]}, "d", None, 1.5, ["messages"], 7, Limits(1, 2, 3.0), "err", ["a*"], "k", None)
    assert task.line().count("\n") == 1
    assert Task.of(task.line()) == task


def test_a_call_that_hangs_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each report begins a limit of time again, beyond which the kernel ends the process."""
    alarms: list[int] = []
    monkeypatch.setattr(signal, "alarm", alarms.append)
    out = io.StringIO()
    process._Output(out).counts(Counts(sent=3))
    assert alarms == [HANG_SECONDS]
    assert json.loads(out.getvalue())["sent"] == 3


def test_the_end_of_the_input_ends_it(tmp_path: Path) -> None:
    """A process whose daemon was killed ends, also while its server and its store are away."""
    file = Path(__file__).parents[2] / "docs/examples/collector.py"
    settings = {"url": "http://127.0.0.1:1"}
    task = Task(str(file), "Collector", settings, str(tmp_path), str(tmp_path / "no-store"), 0.0, ["messages"], 0)
    done = subprocess.run(
        [sys.executable, "-m", "netconsd.streams.process"],
        input=task.line(), capture_output=True, text=True, env=environment(), check=True, timeout=60,
    )  # fmt: skip
    assert "cannot read the spool" in done.stdout
    assert done.stderr == ""


def test_it_gives_way_to_the_reception(tmp_path: Path) -> None:
    """The process has a nice value."""
    file = tmp_path / "noting.py"
    file.write_text(
        "import os\nfrom netconsd.sinks import Stream\n"
        "class Noting(Stream):\n"
        "    def __init__(self, **settings):\n"
        f"        open({str(tmp_path / 'nice')!r}, 'w').write(str(os.nice(0)))\n"
        "        super().__init__(**settings)\n"
    )
    task = Task(str(file), "Noting", {}, str(tmp_path), str(tmp_path / "no-store"), 0.0, ["messages"], 0)
    subprocess.run(
        [sys.executable, "-m", "netconsd.streams.process"],
        input=task.line(), stdout=subprocess.DEVNULL, text=True, env=environment(), check=True, timeout=60,
    )  # fmt: skip
    assert (tmp_path / "nice").read_text() == str(min(19, os.nice(0) + process.NICENESS))


def test_one_process_at_a_time(tmp_path: Path) -> None:
    """A process waits for the one before, of a daemon that was killed: it reads nothing until then."""
    (tmp_path / "journal").mkdir()
    file = Path(__file__).parents[2] / "docs/examples/collector.py"
    task = Task(str(file), "Collector", {"url": "http://127.0.0.1:1"}, str(tmp_path), None, 0.0, ["messages"], 0)

    def run() -> str:
        return subprocess.run(
            [sys.executable, "-m", "netconsd.streams.process"],
            input=task.line(), capture_output=True, text=True, env=environment(), check=True, timeout=60,
        ).stdout  # fmt: skip

    other = Lock(tmp_path, process.LOCK)
    assert "is used by process" in run()
    other.release()
    assert "is used by process" not in run()
