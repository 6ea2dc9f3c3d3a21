"""The compactor's process takes at most 400 MB, whatever the messages are: measured for each kind of hostile sender."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.hostile_stores import CASES, PART_BYTES, fill

pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'netconsd[store]'")
from netconsd.store import compactor

#: The bound (docs/store); and that of a journal of 32 MB, of which the records take 96 MB less than those of a full
#: segment. Half of that is left to the allocator.
MOST_MB = 400
JOURNAL_MB = 32
MOST_MB_OF_SMALL = MOST_MB - (compactor.SEGMENT_BYTES // (1 << 20) - JOURNAL_MB) // 2
#: Each costs a merge something else: rows that are long, words that differ, texts that repeat nothing, senders.
MERGED_CASES = ("legacy garbage", "different userdata", "long texts of many words", "100,000 hosts")
#: The peak of a process with all libraries, before it has read anything, is part of these.
PROGRAM = """
import sys
from netconsd.store.compactor import main
main(sys.argv[1:])
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def peak_mb(directory: Path, *options: str) -> int:
    """Compact and merge a store in a process of its own; return its greatest memory in MB."""
    found = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(directory), "--once", *options], capture_output=True, text=True, check=True
    )
    assert '"damaged": 0' in found.stdout
    return int(found.stdout.split("VmHWM:")[1].split()[0]) >> 10


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("case", CASES)
def test_the_memory_has_a_bound(tmp_path: Path, case: str) -> None:
    """A journal of 32 MB of the messages becomes segments within the bound."""
    fill(tmp_path / "store", case, JOURNAL_MB << 20)
    # Invented senders end a segment before its bytes do: a larger journal takes no more memory.
    assert peak_mb(tmp_path / "store") <= (MOST_MB if "invented" in case else MOST_MB_OF_SMALL)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("case", MERGED_CASES)
def test_the_memory_of_a_merge_has_a_bound(tmp_path: Path, case: str) -> None:
    """Small segments of the messages, one for each part of the journal, are merged within the bound."""
    fill(tmp_path / "store", case, JOURNAL_MB << 20)
    assert peak_mb(tmp_path / "store", "--segment-bytes", str(PART_BYTES)) <= MOST_MB
    assert peak_mb(tmp_path / "store") <= MOST_MB
