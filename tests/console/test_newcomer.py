"""The first hour with the pages: how to make a machine send, and a crash that comes again while it is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.console.answers import BEGIN, STATUS, events
from tests.console.scripted_console import ScriptedConsole
from tests.support.scripted_lane import PATIENCE

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

HOST = "192.0.2.7"
GROUP = {
    "id": "0123456789ab",
    "title": "BUG: again",
    "kind": "bug",
    "severity": "dead",
    "state": "new",
    "muted": False,
    "fatal": 0,
    "incomplete": 0,
    "machines": {HOST: [2, BEGIN, BEGIN]},
    "releases": {},
    "first": BEGIN,
    "sparkline": [0] * 24,
    "lone_machine": None,
    "new_in": None,
    "names_of": {},
    "history": [],
}


@pytest.fixture
def console() -> Iterator[ScriptedConsole]:
    """A console that has received nothing."""
    console = ScriptedConsole()
    console.answers = {
        "status": lambda _: {**STATUS, "store": None},
        "live": lambda _: events(ended=console.ended),
        "hosts": lambda _: {"hosts": []},
    }
    with console.served():
        yield console


@pytest.mark.parametrize(("port", "option"), [(1514, ""), (1614, " --port 1614")])
def test_an_empty_page_has_the_command_for_its_port(
    console: ScriptedConsole, open_page: Callable[..., Page], port: int, option: str
) -> None:
    """The command that the page of a new console shows sends to the port that receives, at every level."""
    console.answers["status"] = lambda _: {**STATUS, "store": None, "port": port}
    page = open_page(console.url)
    page.wait_for_selector(".empty pre")
    expected = f"netconsd client --server ADDRESS{option} --loglevel 8 | ssh MACHINE sudo sh"
    assert page.locator(".empty pre").inner_text() == expected


def crash(given: dict[str, list[str]], count: int) -> Any:
    """Return the page of a crash with so many reports: the chosen one, or the last."""
    reports = [{"id": f"2026-11-28-{number}", "host": HOST, "at": BEGIN + number} for number in range(count)]
    chosen = given.get("report", [f"2026-11-28-{count - 1}"])[0]
    number = int(chosen.rpartition("-")[2])
    row = {"text": f"before {number}", "level": 4, "received_at": BEGIN + number, "ts_usec": 1}
    sample = {"id": chosen, "received_at": BEGIN + number, "source": {"address": HOST}, "messages": [], "frames": []}
    return {
        **GROUP,
        "count": count,
        "last": BEGIN + count,
        "sample": sample,
        "before": [row],
        "reports": reports[::-1],
    }


def test_a_report_that_is_read_is_held(console: ScriptedConsole, open_page: Callable[..., Page]) -> None:
    """A crash that comes again while somebody reads it adds a report to the page, and changes no text that is read; a
    copy is of the report that is shown. Without the page open, the last report is shown."""
    count = 1
    console.answers["crashes"] = lambda _: {"groups": [{**GROUP, "count": count, "last": BEGIN}]}
    console.answers["crashes/*"] = lambda given: [b"trace\n"] if "format" in given else crash(given, count)
    page = open_page(f"{console.url}/crashes/{GROUP['id']}")
    page.wait_for_selector(".before >> text=before 0")
    count = 2
    # The page asks again each ten seconds.
    page.locator(".tiles dd").first.filter(has_text="2").wait_for()
    assert page.locator(".before").inner_text().endswith("before 0 warn")
    page.get_by_role("button", name="Copy for a mailing list").click()
    page.wait_for_selector(".toast.on")
    asked = [given for _, path, given in console.requests if path.startswith("crashes/") and "format" in given]
    assert [given["report"] for given in asked] == [["2026-11-28-0"]]
    page.get_by_role("link", name="Crashes").last.click()
    page.get_by_role("link", name="BUG: again").click()
    page.wait_for_selector(".before >> text=before 1")


def test_a_decision_before_the_status_is_there(console: ScriptedConsole, open_page: Callable[..., Page]) -> None:
    """A button that is pressed before the page has the daemon's status, and the token in it, gets the token first."""
    answered: list[bool] = []

    def status(_: Any) -> Any:
        if not answered:
            # The page's own request: this one is slow.
            answered.append(False)
            console.ended.wait(PATIENCE)
        answered.append(True)
        return STATUS

    console.answers["status"] = status
    console.answers["crashes/*"] = lambda given: (
        crash(given, 1) if "action" not in given or True in answered else (403, {"error": "X-CSRF-Token: is missing"})
    )
    page = open_page(f"{console.url}/crashes/{GROUP['id']}")
    page.get_by_role("button", name="Mute", exact=True).click()
    page.locator("dialog").get_by_role("button", name="Mute").click()
    page.locator(".toast.on", has_text="Done: mute").wait_for()
