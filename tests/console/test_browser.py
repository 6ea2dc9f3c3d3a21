"""The pages in a browser, with answers that a test chooses: long lists, pauses, slow searches, keys, the URL."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.console.answers import BEGIN, STATUS, events, found, lines, plain_object
from tests.console.scripted_console import ScriptedConsole
from tests.support.scripted_lane import PATIENCE

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

#: A frame that takes longer is seen as a stutter.
FRAME_SECONDS = 0.05


@pytest.fixture
def console() -> Iterator[ScriptedConsole]:
    """A console with a status, 40 messages, and an empty live page."""
    console = ScriptedConsole()
    messages = [plain_object(number, f"message {number} of eth{number % 3}", level=number % 8) for number in range(40)]
    console.answers = {
        "status": lambda _: STATUS,
        "counts": lambda _: {"step": 60, "buckets": [[BEGIN + 60 * minute, *[minute] * 9] for minute in range(30)]},
        "messages": lambda _: found(list(reversed(messages))),
        "live": lambda _: events(ended=console.ended),
        "context": lambda given: {"messages": messages, "at": 20},
    }
    with console.served():
        yield console


def test_100_000_rows_scroll_without_a_long_frame(console: ScriptedConsole, open_page: Callable[..., Page]) -> None:
    """No task of the page's thread takes 50 ms of the processor while 100,000 rows are scrolled from end to end.

    The time of the thread counts (Chromium's tracing, ``tdur``), and not the clock: another process is no defect.
    """
    rows = [
        plain_object(number, f"usb 1-{number % 9}: new device number {number} using xhci_hcd", level=number % 8)
        for number in range(100_000)
    ]
    console.answers["live"] = lambda _: _live(rows, console.ended)
    page = open_page(f"{console.url}/?mark=device")
    until(page, "document.querySelector('[role=option]')?.ariaSetSize >= 99000")
    page.get_by_role("button", name="Pause").click()
    trace = page.context.new_cdp_session(page)
    collected: list[dict[str, Any]] = []
    done = threading.Event()
    trace.on("Tracing.dataCollected", lambda data: collected.extend(data["value"]))
    trace.on("Tracing.tracingComplete", lambda _: done.set())
    trace.send("Tracing.start", {"categories": "toplevel,devtools.timeline", "transferMode": "ReportEvents"})
    page.evaluate(
        """() => new Promise((resolve) => {
            const list = document.querySelector(".list");
            list.scrollTop = 0;
            let step = 0;
            const next = () => {
                // Each frame shows other rows: 150 steps through the whole list, then 150 of a few rows each.
                list.scrollTop = step < 150 ? (list.scrollHeight * step) / 150 : 1e6 + step * 60;
                step += 1;
                step < 300 ? requestAnimationFrame(next) : resolve();
            };
            requestAnimationFrame(next);
        })"""
    )
    trace.send("Tracing.end")
    page.wait_for_timeout(0)
    while not done.is_set():
        page.wait_for_timeout(50)
    drawn = [event for event in collected if event.get("name") == "FireAnimationFrame"]
    assert len(drawn) >= 300
    threads = {(event["pid"], event["tid"]) for event in drawn}
    tasks = [
        event
        for event in collected
        if event.get("name", "").endswith("RunTask") and (event["pid"], event["tid"]) in threads
    ]
    assert tasks
    assert max(event.get("tdur", 0) for event in tasks) / 1e6 < FRAME_SECONDS
    # Drawn are the rows in view.
    assert page.locator(".row").count() < 100


def until(page: Page, expression: str) -> None:
    """Wait until an expression is true; Playwright's own way is subject to the page's policy."""
    end = time.monotonic() + PATIENCE
    while not page.evaluate(expression):
        assert time.monotonic() < end, expression
        page.wait_for_timeout(20)


def _live(rows: list[dict[str, Any]], ended: threading.Event) -> Iterator[bytes]:
    for begin in range(0, len(rows), 2000):
        yield b"".join(events(*(("message", row) for row in rows[begin : begin + 2000])))
    ended.wait(PATIENCE)


def test_a_pause_counts(console: ScriptedConsole, open_page: Callable[..., Page]) -> None:
    """While the page is paused, new messages are counted, not shown; they are shown when it goes on."""
    more = threading.Event()

    def live(_: Any) -> Iterator[bytes]:
        yield from events(("message", plain_object(1, "before the pause")))
        more.wait(PATIENCE)
        yield from events(*(("message", plain_object(number, f"during {number}")) for number in range(2, 9)))
        yield from events(("dropped", {"count": 5}), ended=console.ended)

    console.answers["live"] = live
    page = open_page(console.url)
    page.wait_for_selector("text=before the pause")
    page.keyboard.press("Space")
    more.set()
    page.get_by_role("button", name="Resume (7 new)").wait_for()
    assert page.get_by_text("during 2").count() == 0
    page.keyboard.press("Space")
    page.wait_for_selector("text=during 8")
    # Drops of the daemon are a row, and a sum.
    page.wait_for_selector(".row.gap >> text=5 messages not shown here")


def test_a_live_page_hides_and_highlights(console: ScriptedConsole, open_page: Callable[..., Page]) -> None:
    """A click hides a pattern, going back shows it; words are highlighted without a filter. Both are in the URL."""
    texts = ["eth0: link up", "eth1: link up", "disk is full"]
    console.answers["live"] = lambda _: events(
        *(("message", plain_object(number, text)) for number, text in enumerate(texts)), ended=console.ended
    )
    page = open_page(console.url)
    page.wait_for_selector("text=disk is full")
    page.get_by_role("button", name="Patterns").click()
    page.get_by_role("button", name="<DEV>: link up").click()
    until(page, "document.querySelectorAll('.row.message').length === 1")
    assert "hide=%3CDEV%3E" in page.url
    page.go_back()
    until(page, "document.querySelectorAll('.row.message').length === 3")
    page.get_by_label("Highlight").fill("FULL")
    page.get_by_label("Highlight").fill("full")
    page.wait_for_selector("mark >> text=full")
    assert page.locator(".row.message").count() == 3
    assert "mark=full" in page.url


def test_a_slow_search_shows_what_it_has_and_can_be_cancelled(
    console: ScriptedConsole, open_page: Callable[..., Page]
) -> None:
    """Rows are there before the end, with the progress; a cancel closes the request; then the search can go on."""
    closed = threading.Event()

    def slow(given: dict[str, list[str]]) -> Iterator[bytes]:
        if "before" in given:
            yield from found([plain_object(1, "the older one")])
            return
        yield from lines({"message": plain_object(number, f"early {number}")} for number in range(9, 5, -1))
        try:
            while not console.ended.wait(0.05):
                yield from lines([{"progress": {"done": 30, "total": 100, "reached": BEGIN}}])
        finally:
            closed.set()

    console.answers["messages"] = slow
    page = open_page(f"{console.url}/search?grep=early")
    page.wait_for_selector("text=early 6")
    assert page.locator("progress").get_attribute("value") == "30"
    page.get_by_role("button", name="Cancel").click()
    page.wait_for_selector("text=Cancelled after 4 messages")
    assert closed.wait(PATIENCE)
    page.get_by_role("button", name="Go on").click()
    page.wait_for_selector("text=the older one")
    assert (
        "GET",
        "messages",
        {"grep": ["early"], "limit": ["500"], "order": ["newest"], "before": ["192.0.2.1/1795849100/6"]},
    ) in (console.requests)


def test_a_wrong_filter_is_shown_at_its_field(console: ScriptedConsole, open_page: Callable[..., Page]) -> None:
    """The API's error says which field; the field is marked, and the text is beside it."""
    console.answers["messages"] = lambda _: (400, {"error": "since: soon is not a time", "field": "since"})
    page = open_page(f"{console.url}/search?since=soon")
    page.wait_for_selector("#filter-error >> text=soon is not a time")
    assert page.get_by_label("Since").get_attribute("aria-invalid") == "true"


def test_the_state_is_in_the_url(console: ScriptedConsole, open_page: Callable[..., Page]) -> None:
    """A filter that is typed is in the URL, back and forward go through the filters, and a link shows the same page."""
    page = open_page(f"{console.url}/search")
    page.wait_for_selector("text=message 39")
    page.keyboard.press("/")
    page.keyboard.type("link is (down|up)")
    page.keyboard.press("Enter")
    page.wait_for_url("**/search?grep=link+is+%28down%7Cup%29")
    page.get_by_label("Level").select_option("err")
    page.wait_for_url("**level=err**")
    page.go_back()
    page.wait_for_url("**/search?grep=link+is+%28down%7Cup%29")
    until(page, "document.querySelector('[name=level]').value === ''")
    page.go_back()
    page.wait_for_url("**/search")
    until(page, "document.querySelector('[name=grep]').value === ''")
    page.go_forward()
    until(page, "document.querySelector('[name=grep]').value === 'link is (down|up)'")


def test_keys(console: ScriptedConsole, open_page: Callable[..., Page]) -> None:
    """Keys move, show the context, close, hide, help and change the page, but not while one types into a field."""
    page = open_page(f"{console.url}/search")
    page.wait_for_selector("text=message 39")
    for _ in range(3):
        page.keyboard.press("j")
    page.keyboard.press("k")
    # The first row is the day.
    page.wait_for_url("**at=192.0.2.1*39")
    until(page, "document.querySelector('.row.chosen')?.innerText.endsWith('message 39 of eth0')")
    page.keyboard.press("Escape")
    page.wait_for_selector(".detail", state="detached")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.wait_for_selector(".detail")
    page.keyboard.press("c")
    page.wait_for_url("**/m/192.0.2.1/1795849100/39")
    page.go_back()
    page.wait_for_selector(".detail")
    page.keyboard.press("x")
    page.wait_for_url("**hide=message+%3CN%3E+of+%3CDEV%3E")
    page.keyboard.press("?")
    page.wait_for_selector("dialog[open]")
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog", state="detached")
    page.keyboard.press("g")
    page.keyboard.press("m")
    page.wait_for_url("**/machines")
    page.get_by_label("Machines", exact=True).first.fill("")
    page.keyboard.type("gc?")
    assert page.url.endswith("q=gc%3F")


def test_shortcuts_can_be_switched_off(console: ScriptedConsole, open_page: Callable[..., Page]) -> None:
    """As WCAG 2.1.4 asks for: speech input types words."""
    page = open_page(console.url)
    page.keyboard.press("?")
    page.get_by_label("Shortcuts of one key").select_option("off")
    page.get_by_role("button", name="Close").last.click()
    page.wait_for_selector("dialog", state="detached")
    page.keyboard.press("?")
    page.keyboard.press("g")
    page.keyboard.press("c")
    assert page.locator("dialog").count() == 0


def test_dragging_on_the_chart_chooses_a_time(console: ScriptedConsole, open_page: Callable[..., Page]) -> None:
    """The range is in the URL, and the fields show it as a time."""
    page = open_page(f"{console.url}/search")
    # Until the rows are there, the chart moves.
    page.wait_for_selector(".row.message")
    box = page.locator(".u-over").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 20, steps=4)
    page.mouse.up()
    page.wait_for_url("**since=*until=*")
    since = float(page.url.partition("since=")[2].partition("&")[0])
    assert BEGIN < since < BEGIN + 1800
    assert page.get_by_label("Since").input_value().startswith("2026-11-28 07:0")
    page.get_by_role("button", name="All of the time").click()
    page.wait_for_url("**/search")


def test_a_chart_of_one_bucket(console: ScriptedConsole, open_page: Callable[..., Page]) -> None:
    """Its axis is that of the bucket: a drag over all of it chooses a minute, and not years."""
    console.answers["counts"] = lambda _: {"step": 60, "levels": [], "buckets": [[BEGIN, *[0] * 6, 5, 0, 0]]}
    page = open_page(f"{console.url}/search")
    # Until the rows are there, the chart moves.
    page.wait_for_selector(".row.message")
    box = page.locator(".u-over").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 2, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 2, box["y"] + 20, steps=4)
    page.mouse.up()
    page.wait_for_url("**since=*until=*")
    until_text = page.url.partition("until=")[2].partition("&")[0]
    assert float(until_text) <= BEGIN + 120


def test_a_login_leads_back(console: ScriptedConsole, open_page: Callable[..., Page]) -> None:
    """Without a session a page asks for the password, says when it is wrong, and is shown after the right one."""
    inside = threading.Event()

    def guarded(answer: Any) -> Any:
        return lambda given: answer(given) if inside.is_set() else (401, {"error": "log in"})

    console.answers = {path: guarded(answer) for path, answer in console.answers.items()}

    def login(given: Any) -> Any:
        if given != {"password": "right"}:
            return 401, {"error": "the password is wrong"}
        inside.set()
        return {"csrf": "token"}

    console.answers["login"] = login
    page = open_page(f"{console.url}/search?grep=x")
    page.get_by_label("Password").fill("wrong")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=the password is wrong")
    page.get_by_label("Password").fill("right")
    page.keyboard.press("Enter")
    page.wait_for_url("**/search?grep=x")
    page.wait_for_selector("text=message 39")
