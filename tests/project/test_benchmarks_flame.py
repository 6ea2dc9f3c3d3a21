"""The flame graph of the benchmarks, from the text of ``perf script``."""

from __future__ import annotations

import io
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from benchmarks.flame import main, stacks, svg, tree

READER = """\
 100/100\x20
        ffffffff8216b8b9 udpv6_recvmsg ([kernel.kallsyms])
        ffffffff8225aa01 do_syscall_64 ([kernel.kallsyms])
        10b060 __recvmmsg (/usr/lib/libc.so.6)
        7f05b7a56240 [unknown] ([unknown])
"""
WORKER = """\
 100/101\x20
        143697 __pyx_f_8netconsd_6logger_5lines_rendered (/a (b)/netconsd/logger/lines.cpython-311-x86_64.so)
"""
METHOD = WORKER.replace("6logger_5lines_rendered", "8protocol_5table_11SourceTable_feed").replace("/lines.", "/table.")
UNKNOWN = " 100/101 \n        7f05b7a56240 [unknown] ([unknown])\n"


def test_stacks() -> None:
    """A stack is the thread, the file, its function, and the functions of the kernel; callers that may be wrong are not
    in it."""
    assert list(stacks(f"{READER}\n{WORKER}\n{METHOD}\n{UNKNOWN}".splitlines())) == [
        ["reader", "libc", "__recvmmsg", "udpv6_recvmsg"],
        ["workers", "lines", "rendered"],
        ["workers", "table", "SourceTable_feed"],
        ["workers"],
    ]


def test_picture() -> None:
    """Each function has a box with its share; one that is too narrow has none; names are escaped."""
    samples = [["reader", "a<b"]] * 999 + [["workers", "rare"]]
    picture = svg(tree(samples), "title & text")
    titles = [element.text for element in ET.fromstring(picture).iter("{http://www.w3.org/2000/svg}title")]
    assert titles == ["reader: 99.9 %", "a<b: 99.9 %"]


def test_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The command reads standard input; without samples, or a file, it says what it needs."""
    path = tmp_path / "flame.svg"
    monkeypatch.setattr("sys.stdin", io.StringIO(READER))
    assert main([str(path)]) == 0
    assert "udpv6_recvmsg" in path.read_text()
    monkeypatch.setattr("sys.stdin", io.StringIO("something else"))
    assert main([str(path)]) == 1
    assert main([]) == 2
    assert "-F pid,tid,ip,sym,dso" in capsys.readouterr().err
