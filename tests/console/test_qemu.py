"""A real kernel that ``netconsd client`` has set up crashes, and a person finds in the browser what it said before."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.client.scripts import script
from tests.console.running import Running
from tests.kernel.guest import HOST, Guest
from tests.kernel.initramfs import build
from tests.kernel.kernels import find_kernels, missing, required
from tests.support.lossy_proxy import LossyProxy

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'netconsd[store]'")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

if MISSING := missing():
    if required():
        pytest.fail(MISSING, pytrace=False)
    pytest.skip(MISSING, allow_module_level=True)

INIT = Path(__file__).with_name("crashing.sh")
TITLE = "kernel panic: sysrq triggered crash"
#: Booting under emulation, on a busy machine.
BOOT_MS = 180_000


class Clocked(LossyProxy):
    """Forwards every datagram, and remembers when the last one was."""

    last_at = 0.0

    def _forward(self, through: socket.socket, datagram: bytes, address: tuple[str, int]) -> None:
        super()._forward(through, datagram, address)
        self.last_at = time.monotonic()


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    """A running console."""
    made = Running(tmp_path / "store", tmp_path / "log")
    yield made
    made.stop()


# The console stops after the pages are closed: a fixture ends before those that were made earlier.
def test_a_real_crash_is_on_the_pages(running: Running, open_page: Callable[..., Page], tmp_path: Path) -> None:
    """The crash appears with its title on *Crashes* and *Live* without a reload, and one click on it leads to the words
    before it. Prints the seconds from the last datagram to the title (``-s``)."""
    kernel = find_kernels()[-1]
    with Clocked(running.udp, loss=0.0, seed=1) as link:
        url = f"http://127.0.0.1:{running.http}"
        live, crashes = open_page(url), open_page(f"{url}/crashes")
        crashes.wait_for_selector("text=No kernel has crashed")
        client = script("--server", HOST.partition("/")[0], "--port", str(link.port))
        with Guest(kernel, build(kernel, {}, client, INIT), tmp_path) as guest:
            found = crashes.get_by_role("link", name=TITLE)
            try:
                found.wait_for(timeout=BOOT_MS)
            except Exception as error:
                error.add_note(f"The guest's console ends with:\n{guest.console()[-5000:]}")
                raise
            print(f"on Crashes {time.monotonic() - link.last_at:.2f} s after the last datagram")
            # If the page was still asking for the crashes of before, the row is above the lines that followed, and out
            # of view in a window of usual height.
            live.set_viewport_size({"width": 1280, "height": 8000})
            row = live.locator(".row.crash", has_text=TITLE)
            try:
                row.wait_for()
            except Exception as error:
                error.add_note(f"Live shows:\n{live.locator('main').inner_text()}")
                raise
            assert row.count() == 1
            found.click()
            crashes.locator(".before", has_text="sda: request 5 timed out").wait_for()
            assert "netconsd client: test line" in crashes.locator(".before").inner_text()
