"""The form of a text: texts of one kind have one form, in both builds, within bounds."""

from __future__ import annotations

from array import array
from itertools import accumulate
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netconsd.build import COMPILED
from netconsd.store.normalise import INPUT_LIMIT, NAME_LIMIT, OTHERS, Forms, form
from tests.support.plain_build import PlainBuild

plain = PlainBuild()

# From recordings of kernels, but for addresses and names.
EXAMPLES = {
    # Numbers.
    "INFO: task sh:1234 blocked for more than 120 seconds.": "INFO: task sh:<N> blocked for more than <N> seconds.",
    "bash[1234]: segfault at 0 ip 00007f12ab": "bash[<N>]: segfault at <N> ip <N>",
    "took 12.5 ms, -110, 0x1F, 0X1f": "took <N> ms, -<N>, <N>, <N>",
    "RIP: 0010:proc_reg_write+0x5a/0x80 [ext4]": "RIP: <N>:proc_reg_write+<N>/<N> [ext4]",
    "R13: ffffffffffffffff deadbeef": "R13: <N> <N>",
    "Code: 48 8b 04 25 c3 <0f> 0b ff": "Code: <N>",
    "af 12 be": "af <N> be",
    "512MiB 1024x768 3rd 2.50GiB": "<N>MiB <N>x<N> <N>rd <N>GiB",
    "Linux version 6.1.0-13-amd64": "Linux version <N>-<N>-amd64",
    "cpu3 CPU3 CPU#3 irq17 cpu3a scsi_eh_3 mlx5_0": "cpu<N> CPU<N> CPU#<N> irq<N> cpu3a scsi_eh_<N> mlx5_<N>",
    "kworker/u16:3 kworker/3:1H u16": "kworker/u<N>:<N> kworker/<N>:<N>H u16",
    # Words.
    "EXT4-fs r8169 e1000e e1000 sha256 md5 md5sum x86_64 mlx5_core ff add: dead": (
        "EXT4-fs r8169 e1000e e1000 sha256 md5 md5sum x86_64 mlx5_core ff add: dead"
    ),
    "  several   spaces\tand\nlines ": "several spaces and lines",
    "don't, the drivers' isn't": "don't, the drivers' isn't",
    "Grüße ☃": "Grüße ☃",
    "": "",
    # Devices.
    "sda sdb1 [sdaa] vda3 xvdaa hda /dev/sdz": "<DEV> <DEV> [<DEV>] <DEV> <DEV> <DEV> /dev/<DEV>",
    "sdio sdhc sdma hdr add": "sdio sdhc sdma hdr add",
    "nvme0 nvme0n1 nvme0n1p2 mmcblk0boot0 md127 dm-3 loop7": "<DEV> <DEV> <DEV> <DEV> <DEV> <DEV> <DEV>",
    "eth0: eth0.100: enp3s0f1np1: eno1 ttyS0 usb1 ata3.00: ata3:": (
        "<DEV>: <DEV>: <DEV>: <DEV> <DEV> <DEV> <DEV>: <DEV>:"
    ),
    "veth12ab34c vethabcdefa enx00e04cabcdef cali0123456789a calibrated": "<DEV> <DEV> <DEV> <DEV> calibrated",
    "e1000e 0000:00:1f.6 eth0 00:1f.2 10000:e1:00.0": "e1000e <DEV> <DEV> <DEV> <DEV>",
    "sd 2:0:0:0: at 12:34:56.789": "sd <N>:<N>:<N>:<N>: at <N>:<N>:<N>",
    # Addresses.
    "10.1.2.3:443 1.2.3.4.5 1.2.3": "<IP>:<N> <N> <N>",
    "fe80::1%eth0 ::1 ::ffff:10.0.0.1 2001:db8:0:0:0:0:0:1 fe80::": "<IP>%<DEV> <IP> <IP> <IP> <IP>",
    "core::fmt a::b std::Vec": "core::fmt a::b std::Vec",
    "00:11:22:aa:bb:cc aa:bb:cc:dd:ee:ff": "<MAC> <MAC>",
    "MAC=00:11:22:aa:bb:cc:aa:bb:cc:dd:ee:ff:08:00 SRC=192.0.2.1": "MAC=<MAC> SRC=<IP>",
    "(sda1): 7c3f1b2a-1111-2222-3333-444455556666 r/w": "(<DEV>): <UUID> r/w",
    "7c3f1b2a-1111-2222-3333-4444555566667": "<N>-<N>-<N>-<N>-<N>",
    # Names.
    '"echo 0 > /proc/x" disables': '"<NAME>" disables',
    "module 'foo bar' `a' \"\"": "module '<NAME>' `<NAME>' \"\"",
    "'a": "'a",
}


@pytest.mark.parametrize("text", EXAMPLES)
def test_examples(text: str) -> None:
    """Each rule, with texts that it must not touch."""
    assert form(text.encode()).decode() == EXAMPLES[text]


PIECES = st.one_of(
    st.sampled_from(
        (
            *("0", "7", "12", "0x", "ff", "deadbeef", "a", "Z", "_", ".", ":", "::", "-", " ", "\t", "<", "(", "/u"),
            *("'", '"', "`", "eth", "sd", "sda", "xvd", "md5", "dm-", "veth", "cpu", "x86_64", "é", "€", "nvme0n1"),
            *("00:11:22:33:44:55", "fe80::1", "0000:00:1f.2", "1.2.3.4", "7c3f1b2a-1111-2222-3333-444455556666"),
            *("48 8b 04 25", "renderD", "abcdefgh", "12345678"),
        )
    ),
    st.text(max_size=4),
)
TEXTS = st.one_of(
    st.lists(PIECES, max_size=12).map("".join).map(str.encode),
    st.lists(PIECES, max_size=400).map("".join).map(str.encode),
    st.binary(max_size=2 * INPUT_LIMIT),
)


@pytest.mark.skipif(not COMPILED, reason="this build is plain Python: there is nothing to compare it with")
@given(TEXTS)
@settings(max_examples=1500, deadline=None)
def test_the_builds_agree(text: bytes) -> None:
    """Any bytes have the same form in both builds."""
    assert form(text) == plain.normalise.form(text)


@given(st.lists(PIECES, max_size=400).map("".join))
@settings(deadline=None)
def test_characters_stay_whole(text: str) -> None:
    """The form of a text is text, with a mark at its end if the text is longer than the limit."""
    shown = form(text.encode()).decode()
    if len(text.encode()) > INPUT_LIMIT and not text.endswith("…"):
        assert shown.endswith("…")


def test_a_long_text_is_cut() -> None:
    """Nothing behind the limit is looked at."""
    assert form(b"x" * INPUT_LIMIT) == b"x" * INPUT_LIMIT
    assert form(b"x" * (INPUT_LIMIT + 1)) == b"x" * INPUT_LIMIT + "…".encode()
    assert form(b"x" * (INPUT_LIMIT - 1) + "é".encode()) == b"x" * (INPUT_LIMIT - 1) + "…".encode()
    assert form(b"1 " * INPUT_LIMIT).startswith(b"<N> <N> ")
    assert form(b"'a'" * INPUT_LIMIT).endswith("…".encode())


def test_a_long_name_is_no_name() -> None:
    """Two quotes far from each other enclose no name."""
    assert form(b'"%s"' % (b"x" * NAME_LIMIT)) == b'"<NAME>"'
    assert form(b'"%s"' % (b"x" * (NAME_LIMIT + 1))) == b'"%s"' % (b"x" * (NAME_LIMIT + 1))


def numbered(forms: Any, *texts: bytes) -> list[int]:
    """Return the numbers of the forms of texts."""
    ends = array("Q", accumulate(map(len, texts), initial=0))
    return list(forms.number(b"".join(texts), ends, 0, len(texts)))


@pytest.mark.parametrize("make", [Forms, plain.normalise.Forms], ids=["installed", "plain"])
def test_forms_are_numbered(make: Any) -> None:
    """Equal forms have one number, with the index of the first text; the limits leave number 0 for further ones."""
    forms = make(5, 2)
    assert numbered(forms, b"a 1", b"b", b"a 2", b"") == [1, 2, 1, 0]
    assert numbered(forms, b"c") == [0]
    forms.next_sender()
    assert numbered(forms, b"c", b"a 3", b"d", b"e") == [3, 1, 4, 0]
    forms.next_sender()
    assert numbered(forms, b"e", b"d") == [0, 4]
    assert forms.forms == [OTHERS, b"a <N>", b"b", b"c", b"d"]
    assert forms.firsts == [3, 0, 1, 5, 7]
    assert forms.count == 11


@pytest.mark.parametrize("make", [Forms, plain.normalise.Forms], ids=["installed", "plain"])
def test_ends_are_checked(make: Any) -> None:
    """Texts that are not there are an error, and are not read."""
    forms = make()
    ends = array("Q", (0, 1, 3))
    for first, end in ((-1, 1), (0, 3), (2, 1), (0, 2)):
        with pytest.raises(IndexError):
            forms.number(b"ab", ends, first, end)
    assert list(forms.number(b"ab", ends, 0, 1)) == [1]
    assert list(forms.number(b"ab", ends, 1, 1)) == []
