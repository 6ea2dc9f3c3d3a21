"""Each page with a daemon that receives, and a store of a fleet of real kernels."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.console.fleet import TITLE, receiving, send
from tests.support.captures import DIRECTORY

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytest.importorskip("pyarrow")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not DIRECTORY.is_dir(), reason="the recordings of kernels are not beside the checkout"),
]


@dataclass(frozen=True)
class Fleet:
    """A running console."""

    url: str
    #: The UDP port.
    port: int


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A daemon with store and console, and a day of history."""
    directory = tmp_path_factory.mktemp("console")
    with receiving(directory, time.time()) as (daemon, url):
        yield Fleet(url, daemon.port)


def test_a_crash_is_on_the_pages_in_two_seconds(fleet: Fleet, open_page: Callable[..., Page]) -> None:
    """The live page shows the messages and the report; a click leads to the trace and what came before."""
    page = open_page(fleet.url, 1600, 900)
    # Connected, and the last messages of the store are there.
    page.wait_for_selector(".row.message")
    send(fleet.port)
    crash = page.locator(".row.crash", has_text=TITLE)
    crash.wait_for()
    # What arrives from now on moves no row.
    page.keyboard.press("Space")
    crash.click()
    page.get_by_role("link", name="The crash and what came before").click()
    page.wait_for_selector(f"h1 >> text={TITLE}")
    page.wait_for_selector(".trace >> text=crashme_null_read")
    assert page.locator(".tiles").inner_text().endswith("Tainted by\nan out-of-tree module, an unsigned module")
    # The group's best report may be of another machine: the one of now is among its reports.
    page.locator("section", has=page.get_by_role("heading", name="Reports")).get_by_role("link").first.click()
    page.wait_for_url("**report=**")
    page.wait_for_selector(".before >> text=crashme: loading out-of-tree module taints kernel")
    assert "] crashme: loading" in page.locator(".before").inner_text()


def test_what_a_machine_said_before_a_crash_is_two_clicks_away(fleet: Fleet, open_page: Callable[..., Page]) -> None:
    """From the list of crashes: the crash, then everything around it, with its own lines among the others."""
    page = open_page(f"{fleet.url}/crashes")
    page.get_by_role("link", name="INFO: task hung in crashme_hang_mutex").click()
    page.get_by_role("link", name="All around it").click()
    page.wait_for_url("**/search?host=192.0.2.31**")
    page.wait_for_selector(".row >> text=blocked for more than")


def test_the_search_finds_and_leads_to_the_context(fleet: Fleet, open_page: Callable[..., Page]) -> None:
    """By text and level and name; the permalink of a message shows those around it, also of all machines."""
    page = open_page(f"{fleet.url}/search?grep=use-after-free+read&level=err&host=192.0.2.21")
    page.locator(".row.message").first.click()
    page.wait_for_selector(".detail >> text=KFENCE")
    page.wait_for_url("**at=192.0.2.21**")
    page.get_by_role("link", name="Context").click()
    page.wait_for_url("**/m/192.0.2.21/**")
    page.wait_for_selector(".row.chosen >> text=use-after-free read")
    assert page.locator(".row.message").count() > 20
    page.get_by_role("button", name="All machines").click()
    page.wait_for_url("**all_hosts=1")
    page.wait_for_selector(".row.chosen >> text=use-after-free read")


def test_a_search_goes_on_when_it_is_scrolled(fleet: Fleet, open_page: Callable[..., Page]) -> None:
    """Beyond the first 500 messages, without one twice."""
    page = open_page(f"{fleet.url}/search")
    page.wait_for_selector("text=so far; scroll for more")
    for _ in range(3):
        page.evaluate("document.querySelector('.list').scrollTop = 1e9")
        page.wait_for_timeout(100)
    page.wait_for_selector(".row")
    size = page.locator(".row").first.get_attribute("aria-setsize")
    assert size is not None and int(size) > 500


def test_machines(fleet: Fleet, open_page: Callable[..., Page]) -> None:
    """The machines by name, and one with its boots, crashes, time line and log by boot."""
    page = open_page(f"{fleet.url}/machines")
    page.get_by_role("link", name="db01").click()
    page.wait_for_selector("h1 >> text=db01")
    assert page.locator(".timeline .boot").count() >= 2
    assert page.locator(".timeline .crash").count() >= 3
    page.wait_for_selector(".bootlog .row.message")
    page.locator("section", has=page.get_by_role("heading", name="Boots")).get_by_role("link").last.click()
    page.wait_for_url("**boot=**")
    # The newest are first; the end has the first ones.
    page.wait_for_selector(".bootlog .row.message >> text=hung_task")
    page.locator(".bootlog .list").press("End")
    page.wait_for_selector(".bootlog .row.message >> text=netconsole: network logging started")


def test_triage_lasts(fleet: Fleet, open_page: Callable[..., Page]) -> None:
    """Muted with a reason: it is gone from the list, there if asked for, and the history says why; then back."""
    page = open_page(f"{fleet.url}/crashes?q=corrupted+list")
    page.get_by_role("link", name="BUG: corrupted list in crashme_list_del").click()
    page.get_by_role("button", name="Mute", exact=True).click()
    page.get_by_label("Why?").fill("the module is a test <b>of ours</b>")
    page.locator("dialog").get_by_role("button", name="Mute").click()
    page.wait_for_selector("text=the module is a test <b>of ours</b>")
    page.goto(f"{fleet.url}/crashes?q=corrupted+list_del")
    page.wait_for_selector("text=No crash matches")
    page.goto(f"{fleet.url}/crashes?q=crashme_list_del&muted=1")
    page.get_by_role("link", name="BUG: corrupted list in crashme_list_del").click()
    page.get_by_role("button", name="Unmute", exact=True).click()
    page.locator("dialog").get_by_role("button", name="Unmute").click()
    page.get_by_role("button", name="Mute", exact=True).wait_for()


def test_bugs_can_be_merged_and_taken_out_again(fleet: Fleet, open_page: Callable[..., Page]) -> None:
    """A merge says why, and a split undoes it."""
    page = open_page(f"{fleet.url}/crashes")
    page.get_by_role("link", name="WARNING in crashme_warn_text").click()
    page.get_by_role("button", name="Merge into another").click()
    # The text of the label has the names of all bugs as soon as they are there.
    page.locator("dialog [name=into]").select_option(label="WARNING in crashme_warn")
    page.get_by_label("Why?").fill("the same line")
    page.locator("dialog").get_by_role("button", name="Merge").click()
    page.wait_for_selector("dialog", state="detached")
    page.goto(f"{fleet.url}/crashes")
    page.get_by_role("link", name="WARNING in crashme_warn", exact=True).click()
    page.wait_for_selector("text=the same line")
    page.get_by_role("button", name="Take out again").click()
    page.locator("dialog").get_by_role("button", name="Split").click()
    page.wait_for_selector("dialog", state="detached")
    page.goto(f"{fleet.url}/crashes")
    page.get_by_role("link", name="WARNING in crashme_warn_text").wait_for()


def test_a_crash_can_be_taken_elsewhere(fleet: Fleet, open_page: Callable[..., Page]) -> None:
    """As text for decode_stacktrace.sh, as an e-mail, and as JSON."""
    page = open_page(f"{fleet.url}/crashes?q=NULL", permissions=["clipboard-read", "clipboard-write"])
    page.get_by_role("link", name=TITLE).first.click()
    copied = []
    for name in ("Copy for decode_stacktrace.sh", "Copy for a mailing list", "Copy as JSON"):
        page.evaluate("navigator.clipboard.writeText('')")
        page.get_by_role("button", name=name).click()
        for _ in range(200):
            text = page.evaluate("navigator.clipboard.readText()")
            if text:
                break
            page.wait_for_timeout(50)
        copied.append(text)
    assert "crashme_null_read+0x" in copied[0]
    assert copied[1].startswith(f"Subject: {TITLE}")
    assert json.loads(copied[2])["title"] == TITLE


def test_patterns_lead_to_their_messages(fleet: Fleet, open_page: Callable[..., Page]) -> None:
    """A pattern's link is a search that finds its messages."""
    page = open_page(f"{fleet.url}/patterns?q=blocked+for+more")
    page.locator("tbody th a").first.click()
    page.wait_for_url("**/search?grep=**")
    page.wait_for_selector(".row.message >> text=blocked for more than")


def test_the_receiver_shows_its_ledger(fleet: Fleet, open_page: Callable[..., Page]) -> None:
    """In and out are equal, and every module is named."""
    sent = send(fleet.port, address="127.0.0.8")
    page = open_page(f"{fleet.url}/receiver")
    page.wait_for_selector("text=nothing lost here")
    page.locator(".flow li", has_text="To store").wait_for()
    for _ in range(100):
        numbers = [int(text.replace("\u2009", "")) for text in page.locator(".flow .number").all_inner_texts()]
        if numbers[0] >= sent:
            break
        page.wait_for_timeout(100)
    assert numbers[0] >= sent
    page.get_by_text("All counters").click()
    page.wait_for_selector("code >> text=dropped_by_kernel")


def test_downloads(fleet: Fleet, open_page: Callable[..., Page]) -> None:
    """The messages of the filter, as dmesg writes them and as JSON lines."""
    page = open_page(f"{fleet.url}/search?host=192.0.2.31")
    for name, begin in (("as dmesg", "["), ("as JSON", "{")):
        page.get_by_text("Download", exact=True).click()
        with page.expect_download() as download:
            page.get_by_role("link", name=name).click()
        text = Path(download.value.path()).read_text()
        assert text.startswith(begin)
        assert len(text.splitlines()) > 30
        page.get_by_text("Download", exact=True).click()
