"""The structures that compiled modules receive: every field, in C and in Rust, from both builds."""

from __future__ import annotations

import ctypes
import os
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netconsd.build import COMPILED
from netconsd.outputs import abi
from netconsd.outputs.native import INCLUDE, NativeModule
from netconsd.protocol.counters import WorkerCounters
from netconsd.protocol.message import ExtendedMessage, LegacyDatagram, Message, Source
from netconsd.protocol.table import SourceTable
from netconsd.testing import extended, extended_message, fragments, legacy, legacy_message, source
from tests.support.compilers import CC, SOURCES, compiled, compiled_rust, needs_cc, needs_rustc, text_of
from tests.support.strategies import bodies, numbers

pytestmark = needs_cc

HandOver = Callable[[int, int, list[Message], float], int]

HAND_OVERS: dict[str, HandOver] = {"plain": abi.hand_over}
if COMPILED:
    from netconsd.outputs._native import ARENA_BYTES, hand_over

    HAND_OVERS["compiled"] = hand_over

both_builds = pytest.mark.parametrize("way", list(HAND_OVERS))
# Unix time of all messages here, and the monotonic time at that moment.
RECEIVED_AT = 1_700_000_000.75
UPTIME = 5000.0
# The characters of a release.
VISIBLE = "".join(map(chr, range(0x21, 0x7F)))


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory for compiled modules."""
    return tmp_path_factory.mktemp("native")


@pytest.fixture(scope="module")
def fields(libraries: Path) -> Path:
    """A module that records every field."""
    return compiled(SOURCES / "fields.c", libraries)


@pytest.fixture(scope="module")
def rust_fields(libraries: Path) -> Path:
    """The same module in Rust."""
    return compiled_rust(SOURCES / "fields.rs", libraries)


def started(path: Path, way: str = "plain", workers: int = 2) -> NativeModule:
    """Return a started module with constant clocks."""
    module = NativeModule(path, wall=lambda: RECEIVED_AT, monotonic=lambda: UPTIME, hand_over=HAND_OVERS[way])
    module.start(workers)
    return module


def seen(module: NativeModule, messages: list[Message], worker: int = 1) -> list[dict[str, str]]:
    """Pass messages to the module, and return the recorded fields of each."""
    text_of(module, "fields_taken")
    module.handle_batch(worker, messages)
    lines = text_of(module, "fields_taken").splitlines()
    return [dict(field.partition("=")[::2] for field in line.split()) for line in lines]


def received(*datagrams: bytes, address: str = "192.0.2.1", port: int = 6665) -> list[Message]:
    """Return the messages of datagrams that a compiled module receives."""
    table = SourceTable(WorkerCounters(), limit=9, reorder_time=0.2, gc_interval=0, age=0, legacy_datagrams=True)
    sender = source(address, port)
    messages = table.feed([sender.key] * len(datagrams), list(datagrams), RECEIVED_AT, 1.0) + table.flush()
    return [message for message in messages if isinstance(message, (ExtendedMessage, LegacyDatagram))]


def text(value: bytes, at: int = 0) -> str:
    """Return a text as the module records it: offset, length, and the bytes with the final NUL."""
    return f"{at},{len(value)},{value.hex()}00"


def expected(**different: object) -> dict[str, str]:
    """Return the fields of a plain record, with some of them different."""
    values: dict[str, object] = {
        "worker": 1,
        "src": source("192.0.2.1").packed.hex(),
        "msg": "",
        "seq": 1,
        "ts_usec": 1_000_000,
        "text": text(b"hello"),
        "dict": "6,0,00",
        "facility": 0,
        "level": 6,
        "cont_start": 0,
        "cont": 0,
        "oos": 0,
        "seq_reset": 0,
        "node": "1,1",
        "mono": 5_000_000,
        "real": 1_700_000_000_750,
        "ncfrag": "0,0,0",
        "emg": 0,
        "version": bytes(64).hex(),
    }
    return {key: str(value) for key, value in (values | different).items()}


def version(release: bytes) -> str:
    """Return the field of 64 bytes."""
    return release.ljust(64, b"\0").hex()


DICT = b" SUBSYSTEM=usb\n DEVICE=c189:1\n rack=r17 b\n cpu=3\n release=6.12\n msgid=17\n"
PIECES = fragments(extended("long \\ " * 200, seq=7, release="6.12.1", userdata={"k": "v"}, msgid=3))
HOLE = [piece.partition(b";")[2] for piece in fragments(extended("x" * 1500, seq=7))]
RECORDS: dict[str, tuple[Message, dict[str, object]]] = {
    "nothing special": (extended_message("hello", received_at=RECEIVED_AT), {}),
    "no newline": (received(b"6,1,1000000,-;hello")[0], {"dict": "null,0", "seq_reset": 1}),
    "a NUL in place of the newline": (received(b"6,1,1000000,-;hello\0")[0], {"dict": "null,0", "seq_reset": 1}),
    "nothing": (received(b"6,1,1000000,-;")[0], {"text": text(b""), "dict": "null,0", "seq_reset": 1}),
    "a NUL within": (
        received(b"6,1,1000000,-;hello\n k=v\n x=\0y\n")[0],
        {"dict": text(b" k=v\n x=", 6), "seq_reset": 1},
    ),
    "escapes stay": (
        extended_message("t\t\xe9\\", received_at=RECEIVED_AT),
        {"text": text(rb"t\x09\xc3\xa9\x5c"), "dict": "18,0,00"},
    ),
    "lines after the text": (received(b"6,1,1000000,-;hello\n" + DICT)[0], {"dict": text(DICT, 6), "seq_reset": 1}),
    "the highest numbers": (
        received(b"2047,18446744073709551615,18446744073709551615,-;hello\n")[0],
        {"seq": 2**64 - 1, "ts_usec": 2**64 - 1, "facility": 255, "level": 7, "seq_reset": 1},
    ),
    "a release": (
        extended_message("hello", release="6.12.107+deb13-amd64", received_at=RECEIVED_AT),
        {"version": version(b"6.12.107+deb13-amd64")},
    ),
    "the longest release": (
        extended_message("hello", release="6." + "x" * 62, received_at=RECEIVED_AT),
        {"version": version(b"6." + b"x" * 61)},
    ),
    "a continuation": (extended_message("hello", flag="c", received_at=RECEIVED_AT), {"cont": 1}),
    "a continuation of old kernels": (extended_message("hello", flag="+", received_at=RECEIVED_AT), {"cont": 1}),
    "out of order": (extended_message("hello", out_of_order=True, received_at=RECEIVED_AT), {"oos": 1}),
    "a reset": (extended_message("hello", seq_reset=True, received_at=RECEIVED_AT), {"seq_reset": 1}),
    "an emergency": (extended_message("hello", emergency=True, received_at=RECEIVED_AT), {"emg": 1}),
    "fragments": (
        received(*PIECES)[0],
        {
            "seq": 7,
            "seq_reset": 1,
            "text": text(rb"long \x5c " * 200),
            "dict": text(b" k=v\n msgid=3\n", 2001),
            "version": version(b"6.12.1"),
        },
    ),
    "a fragment is lost": (
        received(fragments(extended("x" * 1500, seq=7))[0])[0],
        {
            "seq": 7,
            "seq_reset": 1,
            "ncfrag": "0,0,1",
            "text": text(HOLE[0] + b"[netconsd: %d bytes lost]" % len(HOLE[1])),
            "dict": "null,0",
        },
    ),
    "IPv6": (
        extended_message("hello", address="2001:db8::7", received_at=RECEIVED_AT),
        {"src": "20010db8000000000000000000000007"},
    ),
    "before 1970": (extended_message("hello", received_at=-1.0), {"real": 0, "mono": 0}),
    "the clock was set back": (
        extended_message("hello", received_at=RECEIVED_AT - 4999.5),
        {"real": 1_699_995_001_250, "mono": 500},
    ),
}


@both_builds
@pytest.mark.parametrize("case", list(RECORDS))
def test_every_field_of_a_record(fields: Path, way: str, case: str) -> None:
    """Every field of a record is filled as in the C daemon, private fields included; texts end in NUL."""
    message, different = RECORDS[case]
    assert seen(started(fields, way), [message]) == [expected(**different)]


def datagram(value: bytes, **different: object) -> dict[str, str]:
    """Return the fields of a legacy datagram."""
    values: dict[str, object] = {
        "worker": 1,
        "src": source("192.0.2.1").packed.hex(),
        "buf": "",
        "next": 0,
        "base": 0,
        "iov_len": len(value),
        "family": 6,
        "port": 6665,
        "flowinfo": 0,
        "scope": 0,
        "addr": source("192.0.2.1").packed.hex(),
        "time": 1_700_000_000_750,
        "flags": 0,
        "bytes": len(value),
        "text": value.hex() + "00",
    }
    return {key: str(each) for key, each in (values | different).items()}


@both_builds
@pytest.mark.parametrize(
    "value",
    [legacy("one\ntwo", ts_usec=5, level=3), b"no newline", b"\0 and \xff\0", b"x" * abi.DATAGRAM_MAX],
    ids=["lines", "part", "bytes", "longest"],
)
def test_every_field_of_a_legacy_datagram(fields: Path, way: str, value: bytes) -> None:
    """A legacy datagram of any bytes is passed whole, followed by a NUL."""
    assert seen(started(fields, way), received(value)) == [datagram(value)]
    address = source("2001:db8::7").packed.hex()
    (ipv6,) = seen(started(fields, way), received(value, address="2001:db8::7", port=0xABCD))
    assert ipv6 == datagram(value, src=address, addr=address, port=0xABCD)
    address = source("fe80::7").packed.hex()
    (link_local,) = seen(started(fields, way), received(value, address="fe80::7%16909060"))
    assert link_local == datagram(value, src=address, addr=address, scope=16909060)


@both_builds
def test_a_line_is_passed_as_a_datagram(fields: Path, way: str) -> None:
    """A legacy line is a msg_buf of its own."""
    line = legacy_message("hello", received_at=RECEIVED_AT)
    assert seen(started(fields, way), [line]) == [datagram(b"hello\n")]


@both_builds
def test_longer_texts_are_truncated_and_counted(fields: Path, way: str) -> None:
    """A text longer than the C daemon's buffer is truncated and counted; a text of that length is not."""
    module = started(fields, way)
    longest, longer = (
        received(*fragments(extended("x" * size, userdata={"k": "v"})))[0]
        for size in (abi.BODY_MAX - 6, abi.BODY_MAX - 5)
    )
    whole, cut = seen(module, [longest, longer])
    assert whole["dict"] == text(b" k=v\n", abi.BODY_MAX - 5)
    assert cut["dict"] == text(b" k=v", abi.BODY_MAX - 4)
    assert module.truncated == 1
    (long,) = seen(module, [LegacyDatagram(source(), RECEIVED_AT, b"y" * 65507)])
    assert long == datagram(b"y" * abi.DATAGRAM_MAX, flags="trunc")
    assert seen(module, [LegacyDatagram(source(), RECEIVED_AT, b"y" * abi.DATAGRAM_MAX)])[0]["flags"] == "0"
    # Bytes after a NUL do not count, because modules read strings.
    seen(module, [extended_message(b"", userdata={"k": b"\0" + b"z" * abi.BODY_MAX})])
    assert module.truncated == 2


@both_builds
def test_batches_are_complete_and_in_order(fields: Path, way: str) -> None:
    """A batch of any size, with short and long messages of both formats, is passed completely and in order."""
    module = started(fields, way)
    batch: list[Message] = []
    for seq in range(300):
        batch.append(extended_message("x" * (seq * 25), seq=seq, received_at=RECEIVED_AT))
        batch.append(LegacyDatagram(source(port=seq + 1), RECEIVED_AT, b"%d" % seq))
    got = seen(module, batch, worker=0)
    assert [each.get("seq", each.get("port")) for each in got] == [
        str(number) for seq in range(300) for number in (seq, seq + 1)
    ]
    assert [len(each["text"].split(",")[-1]) // 2 - 1 for each in got[::2]] == [seq * 25 for seq in range(300)]
    assert seen(module, []) == []


@pytest.mark.skipif(not COMPILED, reason="only the compiled build copies many messages at a time")
def test_copies_are_bounded() -> None:
    """Messages are copied in parts of at most ARENA_BYTES, whatever the size of the batch."""
    runs: list[list[int]] = []
    room = (ctypes.sizeof(abi.NcrxMsg) + 8000 + 1 + 1 + 15) // 16 * 16

    def note(worker: int, address: int, datagram: int, record: int) -> None:
        if not runs or record - runs[-1][-1] != room:
            runs.append([])
        runs[-1].append(record)

    handler = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)(note)
    message = extended_message("x" * 8000)
    for count, copies in ((100, 1), (400, 4)):
        runs.clear()
        hand_over(ctypes.cast(handler, ctypes.c_void_p).value or 0, 0, [message] * count, 0.0)
        assert sum(len(run) for run in runs) == count
        assert len(runs) == copies
        assert max(len(run) for run in runs) * room <= ARENA_BYTES == 1 << 20


@both_builds
def test_other_threads_run_while_the_handler_does(libraries: Path, way: str) -> None:
    """The GIL is released: this thread runs while the handler waits for it."""
    module = started(compiled(SOURCES / "gate.c", libraries), way)
    (called, call), (wait, release) = os.pipe(), os.pipe()
    library = ctypes.CDLL(str(module.path))
    for name, value in (("gate_says", call), ("gate_waits", wait), ("gate_opened", 0)):
        ctypes.c_int.in_dll(library, name).value = value
    thread = threading.Thread(target=module.handle_batch, args=(0, [extended_message("a"), extended_message("b")]))
    thread.start()
    for _ in range(2):
        assert os.read(called, 1) == b"!"
        os.write(release, b".")
    thread.join(30)
    for descriptor in (called, call, wait, release):
        os.close(descriptor)
    assert ctypes.c_int.in_dll(library, "gate_opened").value == 2


@needs_rustc
@both_builds
def test_rust_sees_the_same(fields: Path, rust_fields: Path, way: str) -> None:
    """A module in Rust, built without netconsd.h, reads the same fields as the module in C."""
    messages = [message for message, _ in RECORDS.values()]
    messages += received(legacy("one\ntwo"), b"\0\xff", b"z" * 2000)
    rust = seen(started(rust_fields, way), messages)
    assert rust == seen(started(fields, way), messages)
    assert len(rust) == len(messages)


@pytest.mark.skipif(not COMPILED, reason="this build is plain Python: there is nothing to compare it with")
@given(
    st.lists(
        st.one_of(
            st.builds(LegacyDatagram, st.just(source()), st.floats(), st.binary(max_size=2000)),
            st.builds(
                ExtendedMessage,
                st.builds(Source, st.binary(min_size=16, max_size=16), st.integers(0, 65535)),
                st.floats(),
                st.one_of(bodies, st.binary(max_size=9000)),
                st.integers(0, 2047),
                numbers,
                numbers,
                st.booleans(),
                st.none(),
                st.none() | st.text(VISIBLE, min_size=1, max_size=64).map(str.encode),
                st.just(-1),
                *[st.booleans()] * 5,
            ),
        ),
        max_size=5,
    )
)
@settings(max_examples=300)
def test_both_builds_hand_over_the_same(fields: Path, messages: list[Message]) -> None:
    """A module reads the same fields of any message in both builds."""
    plain, quick = started(fields, "plain"), started(fields, "compiled")
    assert seen(plain, messages) == seen(quick, messages)
    assert plain.truncated == quick.truncated


@both_builds
def test_a_module_may_change_its_structures(libraries: Path, fields: Path, way: str, capfd: Any) -> None:
    """A module can change its texts and structures, up to the last byte, which no other message or module sees."""
    shout, other = started(compiled(SOURCES / "shout.c", libraries), way), started(fields, way)
    batch = received(b"6,1,1000000,-;hello\n k=v\n", b"6,2,1000000,-;hello\n k=v\n", b"some text\n")
    shout.handle_batch(0, batch)
    shout.stop()
    assert capfd.readouterr().out == "shout: HELLO| K=V\n\n" * 2 + "shout: SOME TEXT\n\n"
    assert seen(other, batch) == [
        expected(dict=text(b" k=v\n", 6), seq_reset=1),
        expected(dict=text(b" k=v\n", 6), seq=2),
        datagram(b"some text\n"),
    ]
    assert batch[2].raw == b"some text\n"


LAYOUT = """
#include <netconsd.h>
#include <stdio.h>
int main(void)
{
%s
    printf("BODY_MAX %%d\\nDATAGRAM_MAX %%d\\nVERSION_SIZE %%d\\n",
           NETCONSD_BODY_MAX, NETCONSD_DATAGRAM_MAX, NETCONSD_VERSION_SIZE);
    return 0;
}
"""
STRUCTURES = {
    "ncrx_list": abi.NcrxList,
    "ncrx_msg": abi.NcrxMsg,
    "msg_buf": abi.MsgBuf,
    "iovec": abi.Iovec,
    "in6_addr": abi.In6Addr,
    "sockaddr_in6": abi.SockaddrIn6,
}
BITS = {"cont_start", "cont", "oos", "seq_reset", "emg"}


def test_structures_have_the_compilers_layout(tmp_path: Path) -> None:
    """Every field of every structure has the C compiler's offset and size; the bounds are those of the header."""
    lines, layout = [], []
    for name, structure in STRUCTURES.items():
        lines.append(f'printf("{name} %zu\\n", sizeof(struct {name}));')
        layout.append(f"{name} {ctypes.sizeof(structure)}")
        for field in [field[0] for field in structure._fields_ if field[0] not in BITS]:
            descriptor = getattr(structure, field)
            lines.append(f'printf("{name}.{field} %zu\\n", offsetof(struct {name}, {field}));')
            layout.append(f"{name}.{field} {descriptor.offset}")
            if field != "buf":
                lines.append(f'printf("{name}.{field} %zu\\n", sizeof(((struct {name} *)0)->{field}));')
                layout.append(f"{name}.{field} {descriptor.size}")
    layout += [f"{name} {getattr(abi, name)}" for name in ("BODY_MAX", "DATAGRAM_MAX", "VERSION_SIZE")]
    source_file, program = tmp_path / "layout.c", tmp_path / "layout"
    source_file.write_text(LAYOUT % "\n".join(lines))
    assert CC is not None
    subprocess.run([CC, f"-I{INCLUDE}", source_file, "-o", program], check=True, timeout=50)
    printed = subprocess.run([program], capture_output=True, text=True, check=True, timeout=50).stdout
    assert printed.splitlines() == layout
