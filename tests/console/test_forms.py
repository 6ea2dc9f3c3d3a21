"""The forms of the pages are those of the store: what is hidden on one page is the pattern of another."""

from __future__ import annotations

import json
import random
import re
import subprocess
from pathlib import Path
from typing import Final

import pytest

from netconsd.store.normalise import DEVICES, INPUT_LIMIT, NAME_LIMIT, NUMBERED, RANDOM, form
from tests.console.tools import need, workshop

#: Texts of kernels, each behind its level.
KERNEL_TEXTS: Final = Path(__file__).parents[2] / "benchmarks" / "kernel_texts.txt"
#: Each rule of the forms has pieces here, which texts are made of at random.
PIECES: Final = (
    *("0", "7", "12", "0x", "0X1f", "ff", "48", "deadbeef", "a", "Z", "_", ".", ":", "::", "-", " ", "  ", "\t", "\n"),
    *(
        "<",
        ">",
        "(",
        ")",
        "/u",
        "/u16",
        "'",
        '"',
        "`",
        "é",
        "€",
        "\ufeff",
        "\x1b",
        "😀",
        "\u202e",
        "x86_64",
        "md5",
        "dm-",
    ),
    *("eth", "sd", "sda", "sdaa", "xvdb", "hdh", "hdi", "xhda", "veth", "veth12ab34c", "cpu", "nvme0n1p2", "eth0.100"),
    *("00:11:22:33:44:55", "00:11:22:33:44:55:66:77", "fe80::1", "::ffff:10.0.0.1", "2001:db8:0:0:0:0:0:1", "1.2.3.4"),
    *("0000:00:1f.2", "00:1f.2", "7c3f1b2a-1111-2222-3333-444455556666", "48 8b 04 25", "48 8b <0f> 0b", "renderD128"),
    *(
        "kworker/u16:3",
        "scsi_eh_3",
        "mlx5_0",
        "512MiB",
        "1024x768",
        "12.5",
        "don't",
        "'foo'",
        '"a b"',
        "`x'",
        "abcdefghi1",
    ),
    *DEVICES,
    *NUMBERED,
    *RANDOM,
)
#: Texts that are made at random; the seed is fixed.
COUNT: Final = 20_000


def _texts() -> list[str]:
    chance = random.Random(14)
    texts = [line.partition(" ")[2] for line in KERNEL_TEXTS.read_text().splitlines()]
    texts += [name + number for name in (*DEVICES, *NUMBERED, *RANDOM) for number in ("1", "12ab", "0n1", "abcdef", "")]
    for _ in range(COUNT):
        texts.append("".join(chance.choices(PIECES, k=chance.randrange(12))))
    for size in (INPUT_LIMIT - 1, INPUT_LIMIT, INPUT_LIMIT + 1):
        texts += [
            "x" * size,
            "é" * (size // 2) + "x" * (size % 2),
            "x" * (size - 1) + "€",
            "x " * (size // 2),
            "7" * size,
        ]
        texts += ["😀" * (size // 4) + "😀", "x" * (size - 1) + "😀"]
    for size in (NAME_LIMIT - 1, NAME_LIMIT, NAME_LIMIT + 1):
        texts += [f"{quote}{'y' * size}{quote} z" for quote in "'\"`"]
    return texts


@pytest.mark.slow
def test_the_pages_have_the_forms_of_the_store(tmp_path: Path) -> None:
    """All names and rules, texts of kernels, and texts at random; and the expression of a form finds its texts."""
    need("node")
    texts = _texts()
    done = subprocess.run(
        ["node", "forms.mjs"],
        cwd=workshop(tmp_path / "shop"),
        input=json.dumps(texts).encode(),
        stdout=subprocess.PIPE,
        timeout=120,
        check=True,
    )
    found = json.loads(done.stdout)
    assert len(found) == len(texts)
    for text, (page, expression) in zip(texts, found, strict=True):
        assert page == form(text.encode()).decode(), text
        # The marks of a form can be a text's own, and a name can be of two lines.
        if not re.search(r"<(?:N|MAC|IP|DEV|UUID|NAME)>", text) and "<NAME>" not in page:
            assert re.search(expression, text), (text, expression)
