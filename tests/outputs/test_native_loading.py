"""Compiled modules: finding, loading, starting, stopping, and the errors."""

from __future__ import annotations

import struct
import threading
from pathlib import Path

import pytest
from twisted.logger import capturedLogs, formatEvent
from zope.interface.verify import verifyObject

from netconsd.interfaces import IBatchOutputModule, ITakesLegacyDatagrams
from netconsd.outputs.loader import ModuleError, load
from netconsd.outputs.native import NativeModule
from netconsd.protocol.message import Message
from netconsd.testing import RecordingModule, extended_message
from tests.support.compilers import SOURCES, compiled, needs_cc, text_of
from tests.support.module_files import PLAIN, names, refusal, skipped, text, toml
from tests.support.outputs import HERE, done, failures, started

pytestmark = needs_cc

HANDLER = "void netconsd_output_handler(int w, void *s, void *b, void *m) { (void)w; (void)s; (void)b; (void)m; }\n"


def library(directory: Path, name: str, code: str = HANDLER) -> Path:
    """A shared object of this code."""
    source = directory / f"{name}.c"
    source.write_text(code)
    return compiled(source, directory)


@pytest.fixture(scope="module")
def lifecycle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A module that records its calls, and does not start with 3 workers."""
    return compiled(SOURCES / "lifecycle.c", tmp_path_factory.mktemp("lifecycle"), "-DREFUSE=3")


# The loader.


def test_a_module_has_the_name_of_its_file(tmp_path: Path) -> None:
    """A .so file is loaded as a batch module with the name of the file, and receives legacy datagrams."""
    path = library(tmp_path, "plain")
    (loaded,) = load([path], {}).loaded
    assert (loaded.name, loaded.path) == ("plain", path)
    assert verifyObject(IBatchOutputModule, loaded.module)
    assert ITakesLegacyDatagrams.providedBy(loaded.module)


def test_a_relative_path_is_that_of_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``x.so`` without a slash is a file of the working directory, not one of the system's libraries."""
    library(tmp_path, "libm")
    monkeypatch.chdir(tmp_path)
    assert names(load(["libm.so"], {})) == ["libm"]


def test_a_directory_gives_its_compiled_modules(tmp_path: Path) -> None:
    """A directory gives compiled modules and modules in Python; other libraries are skipped with the reason."""
    library(tmp_path, "b")
    library(tmp_path, "library", "int something_else;\n")
    (tmp_path / "a.py").write_text(PLAIN)
    selection = load([tmp_path], {})
    assert names(selection) == ["a", "b"]
    assert skipped(selection) == {
        "library": "not an output module: it has no function netconsd_output_handler (docs/native)"
    }


def test_a_library_that_is_no_module(tmp_path: Path) -> None:
    """A shared object without a handler is an error if it was named itself."""
    path = library(tmp_path, "x", "int netconsd_output_init(int workers) { return workers; }\n")
    assert refusal(path).startswith(f"{path}: not an output module")


def test_a_file_that_cannot_be_loaded(tmp_path: Path) -> None:
    """A file that is not a shared object, is for another machine, or lacks a symbol, is an error with the linker's
    reason; one error lists all failures."""
    empty, text_file, other = tmp_path / "empty.so", tmp_path / "text.so", tmp_path / "other.so"
    empty.write_bytes(b"")
    text_file.write_text("x" * 5000)
    machine = library(tmp_path, "machine").read_bytes()
    # e_machine of the ELF header, set to that of a PDP-11.
    other.write_bytes(machine[:18] + struct.pack("=H", 65) + machine[20:])
    lacking = library(tmp_path, "lacking", "int nowhere(void); int here(void) { return nowhere(); }\n" + HANDLER)
    assert refusal(empty) == f"{empty}: is empty"
    assert refusal(text_file) == f"{text_file}: is not a shared object: compile it with cc -shared -fPIC"
    assert refusal(other).startswith(f"{other}: was compiled for machine 65 ")
    assert refusal(lacking) == f"{lacking}: cannot be loaded: undefined symbol: nowhere"
    assert refusal(empty, lacking).startswith("2 errors in the output modules:\n")
    assert refusal(tmp_path / "gone.so") == f"{tmp_path}/gone.so: No such file or directory"


def test_settings_for_a_compiled_module(tmp_path: Path) -> None:
    """A compiled module takes no settings: each setting is an error with its place in the configuration."""
    path = library(tmp_path, "x")
    error = refusal(path, settings={"x": {"file": toml("f"), "n": text("1")}})
    assert error.splitlines()[1:] == [
        '  - netconsd.toml:3: [module.x] y: module x has no setting "file": compiled modules (x.so) have none',
        '  - --set x.y: module x has no setting "n": compiled modules (x.so) have none',
    ]
    assert names(load([path], {"x": {}})) == ["x"]


def test_two_of_the_same_name(tmp_path: Path) -> None:
    """A compiled module and a Python file of the same name are an error."""
    path = library(tmp_path, "x")
    (tmp_path / "x.py").write_text(PLAIN)
    assert refusal(tmp_path) == (f'two modules have the name "x": {tmp_path}/x.py and {path}; rename one of the files')


# Start, calls, stop.


def test_init_handler_exit(lifecycle: Path) -> None:
    """Init is called once with the number of workers, the handler for each message, exit once at the end; and again
    when the service starts again."""
    module = NativeModule(lifecycle)
    before = text_of(module, "calls_so_far")
    for _ in range(2):
        outputs = started(2, x=module)
        outputs.deliver(1, [extended_message("a"), extended_message("b")])
        done(outputs.stop())
    assert text_of(module, "calls_so_far") == before + "init(2) msg(1) msg(1) exit " * 2


def test_init_and_exit_may_be_missing(tmp_path: Path) -> None:
    """A module with only a handler starts, is called, and stops."""
    outputs = started(1, x=NativeModule(library(tmp_path, "x")))
    outputs.deliver(0, [extended_message("a")])
    assert [(counters.messages, counters.errors) for counters in outputs.started[0].counters] == [(1, 0)]
    done(outputs.stop())


def test_an_init_that_refuses(lifecycle: Path) -> None:
    """An init that does not return 0 fails the start with one line; modules that were started are stopped, and the
    module's own exit is not called."""
    first = RecordingModule()
    module = NativeModule(lifecycle)
    with pytest.raises(ModuleError) as caught:
        started(3, first=first, x=module)
    assert str(caught.value) == f"{lifecycle}: did not start: its netconsd_output_init returned 7, not 0"
    assert first.stopped
    assert text_of(module, "calls_so_far").endswith("init(3) ")


def test_two_compiled_modules_and_one_in_python(tmp_path: Path) -> None:
    """Each of several modules receives all messages, and symbols of the same name stay separate."""
    modules = [NativeModule(compiled(SOURCES / "lifecycle.c", tmp_path, name=name)) for name in ("one", "two")]
    recording = RecordingModule()
    outputs = started(1, one=modules[0], two=modules[1], recording=recording)
    outputs.deliver(0, [extended_message("a")])
    done(outputs.stop())
    assert [text_of(module, "calls_so_far") for module in modules] == ["init(1) msg(0) exit "] * 2
    assert [message.text for message in recording.messages] == ["a"]


def test_exit_is_not_called_while_a_worker_is_in_the_handler(lifecycle: Path) -> None:
    """Exit, which frees memory that the handler uses, is not called while a worker is in the handler; the log names the
    worker."""
    entered, leave = threading.Event(), threading.Event()

    def hangs(handler: int, worker: int, messages: list[Message], to_monotonic: float) -> int:
        entered.set()
        assert leave.wait(30)
        return 0

    module = NativeModule(lifecycle, hand_over=hangs)
    outputs = started(2, x=module)
    before = text_of(module, "calls_so_far")
    thread = threading.Thread(target=outputs.deliver, args=(1, [extended_message("a")]))
    thread.start()
    assert entered.wait(30)
    with capturedLogs() as logged:
        done(outputs.stop())
    leave.set()
    thread.join(30)
    assert failures(logged) == ["Module x failed to stop: RuntimeError"]
    assert "worker 1 is still in netconsd_output_handler" in str(logged[0]["log_failure"].value)
    assert text_of(module, "calls_so_far") == before


@pytest.mark.parametrize(("size", "warnings"), [(10, 0), (9000, 1)])
def test_truncated_messages_are_logged_at_the_stop(tmp_path: Path, size: int, warnings: int) -> None:
    """The log has the number of messages that were too long for a compiled module, if there were any."""
    path = library(tmp_path, "x")
    outputs = started(1, x=NativeModule(path))
    outputs.deliver(0, [extended_message("x" * size)])
    with capturedLogs() as logged:
        done(outputs.stop())
    assert [formatEvent(event).partition(" to ")[0] for event in logged] == [f"{path}: truncated 1 message"] * warnings


def test_workers_deliver_legacy_datagrams(tmp_path: Path) -> None:
    """With a compiled module, workers deliver legacy text in whole datagrams as well."""
    outputs = started(1, HERE, x=NativeModule(library(tmp_path, "x")))
    assert outputs.legacy_datagrams
    done(outputs.stop())
