"""The pages in a browser, with answers that a test chooses: long lists, pauses, slow searches, keys, the URL."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from tests.console.answers import BEGIN, STATUS, events, found, lines, plain_object
from tests.console.scripted_console import ScriptedConsole
from tests.support.scripted_lane import PATIENCE

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

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
    page.wait_for_url("**mark=full**")


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
    page.wait_for_url("**q=gc%3F")


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


def drag(page: Page, begin: float, end: float, pressed: Callable[[], None] = lambda: None) -> None:
    """Drag from one part of the chart to another, each from 0 to 1; ``pressed`` is called before the mouse is released.

    Each step waits for what it needs: the bars and the rows, which move the chart; a place that stays; the selection.
    """
    until(page, "document.querySelector('.plot')?.getAttribute('aria-label').includes(' messages from ')")
    page.wait_for_selector(".row.message")
    before = None
    while (box := page.locator(".u-over").bounding_box()) is None or box != before:
        before = box
        page.evaluate("new Promise(requestAnimationFrame)")
    page.mouse.move(box["x"] + box["width"] * begin, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * end, box["y"] + 20, steps=4)
    until(page, "document.querySelector('.u-select').offsetWidth > 10")
    pressed()
    page.mouse.up()


def test_dragging_on_the_chart_chooses_a_time(console: ScriptedConsole, open_page: Callable[..., Page]) -> None:
    """The range is in the URL, and the fields show it as a time."""
    page = open_page(f"{console.url}/search")
    drag(page, 0.25, 0.5)
    page.wait_for_url("**since=*until=*")
    since = float(page.url.partition("since=")[2].partition("&")[0])
    assert BEGIN < since < BEGIN + 1800
    until(page, "document.querySelector('[name=since]').value.startsWith('2026-11-28 07:0')")
    page.get_by_role("button", name="All of the time").click()
    page.wait_for_url("**/search")


def test_a_chart_of_one_bucket(console: ScriptedConsole, open_page: Callable[..., Page]) -> None:
    """Its axis is that of the bucket: a drag over all of it chooses a minute, and not years."""
    console.answers["counts"] = lambda _: {"step": 60, "levels": [], "buckets": [[BEGIN, *[0] * 6, 5, 0, 0]]}
    page = open_page(f"{console.url}/search")
    drag(page, 0.01, 0.99)
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


def test_a_drag_on_the_live_chart_keeps_its_time(console: ScriptedConsole, open_page: Callable[..., Page]) -> None:
    """The rates of the seconds that pass while the mouse is pressed move nothing away from under it."""
    more, sent = threading.Event(), threading.Event()

    def live(_: Any) -> Iterator[bytes]:
        yield from events(("message", plain_object(1, "one")), ("rate", {"levels": [0, 0, 0, 5, 0, 0, 0, 0, 0]}))
        more.wait(PATIENCE)
        yield from events(("rate", {"levels": [0, 0, 0, 9000, 0, 0, 0, 0, 0]}), ("message", plain_object(2, "two")))
        sent.set()
        console.ended.wait(PATIENCE)

    console.answers["live"] = live
    page = open_page(console.url)

    begins: list[float] = []

    def pressed() -> None:
        label = page.locator(".plot").get_attribute("aria-label") or ""
        begin = datetime.fromisoformat(label.partition(" from ")[2].partition(" to ")[0]).replace(tzinfo=UTC)
        begins.append(begin.timestamp())
        # A minute passes.
        page.evaluate("() => { const now = Date.now; Date.now = () => now() + 60000; }")
        more.set()
        page.wait_for_selector("text=two")

    drag(page, 0.3, 0.6, pressed)
    page.wait_for_url("**/search?since=*until=*")
    assert sent.is_set()
    given = {name: float(value) for name, value in (part.split("=") for part in page.url.partition("?")[2].split("&"))}
    assert 30 <= given["until"] - given["since"] <= 45
    # Three tenths of two minutes behind the begin of the chart when the mouse was pressed.
    assert abs(given["since"] - begins[0] - 36) < 10


def test_a_wrong_live_filter_is_shown_at_its_field(console: ScriptedConsole, open_page: Callable[..., Page]) -> None:
    """A live tail that is refused says why, although an EventSource does not."""
    console.answers["live"] = lambda _: (400, {"error": "grep: is not a regular expression", "field": "grep"})
    page = open_page(f"{console.url}/?grep=(")
    page.wait_for_selector("#filter-error >> text=is not a regular expression")
    assert page.get_by_label("Text", exact=True).get_attribute("aria-invalid") == "true"


def test_back_leads_to_the_same_rows_and_place(console: ScriptedConsole, open_page: Callable[..., Page]) -> None:
    """A search that was scrolled far is shown again with its chosen row, without asking for it again."""
    rows = [plain_object(number, f"message {number}") for number in range(1200)]

    def answer(given: dict[str, list[str]]) -> Iterator[bytes]:
        before = int(given["before"][0].rpartition("/")[2]) if "before" in given else len(rows)
        yield from found(list(reversed(rows[max(0, before - 500) : before])), complete=before <= 500)

    console.answers["messages"] = answer
    page = open_page(f"{console.url}/search")
    # The rows come in pieces, and a key does not go beyond those that are there.
    until(page, "document.querySelector('[role=option]')?.ariaSetSize >= 501")
    for wanted in (1001, 1201):
        page.locator(".list").press("End")
        until(page, f"document.querySelector('[role=option]').ariaSetSize >= {wanted}")
    # A search that has not ended is asked for again.
    until(page, "/^1.?200 messages$/.test(document.querySelector('[role=status]').innerText)")
    page.locator(".list").press("End")
    for _ in range(3):
        page.keyboard.press("k")
    page.wait_for_selector(".row.chosen >> text=/^message 3$/")
    asked = len([one for one in console.requests if one[1] == "messages"])
    page.get_by_role("link", name="Context").click()
    page.wait_for_url("**/m/**")
    page.go_back()
    page.wait_for_selector(".row.chosen >> text=/^message 3$/")
    assert len([one for one in console.requests if one[1] == "messages"]) == asked
    # The same filter once more asks for what is new.
    page.get_by_role("button", name="Filter").click()
    page.wait_for_selector("text=message 1199")
    assert len([one for one in console.requests if one[1] == "messages"]) == asked + 1


def test_a_link_to_a_message_beyond_the_first_ones(console: ScriptedConsole, open_page: Callable[..., Page]) -> None:
    """The message that a link names is shown, wherever it is among the found ones."""
    wanted = plain_object(7, "far away", id="192.0.2.1/1795849100/7")
    console.answers["messages/*"] = lambda _: wanted
    console.answers["messages"] = lambda _: found(
        [plain_object(number, f"near {number}") for number in range(99, 90, -1)]
    )
    page = open_page(f"{console.url}/search?at=192.0.2.1/1795849100/7")
    page.wait_for_selector(".detail >> text=far away")
    assert page.locator(".row.chosen").count() == 0


def test_a_search_goes_on_while_all_its_rows_are_hidden(
    console: ScriptedConsole, open_page: Callable[..., Page]
) -> None:
    """A flood that was hidden does not hide what is behind it."""
    flood = [plain_object(number, f"flood {number}") for number in range(600, 100, -1)]

    def answer(given: dict[str, list[str]]) -> Iterator[bytes]:
        # Two pages are hidden: after the second one, not even the number of rows has changed.
        before = given.get("before", ["/601"])[0].rpartition("/")[2]
        if before == "101":
            yield from found([plain_object(1, "the cause")])
        else:
            yield from found([one for one in flood if one["seq"] < int(before)][:250], complete=False)

    console.answers["messages"] = answer
    page = open_page(f"{console.url}/search?hide=flood+%3CN%3E")
    page.wait_for_selector(".row >> text=the cause")


def test_keys_that_repeat_change_the_url_seldom(console: ScriptedConsole, open_page: Callable[..., Page]) -> None:
    """Browsers refuse more than a hundred changes of the URL in half a minute; some raise an error."""
    rows = [plain_object(number, f"message {number}") for number in range(400)]
    console.answers["messages"] = lambda _: found(list(reversed(rows)))
    page = open_page(f"{console.url}/search")
    # The rows come in pieces, and a key does not go beyond those that are there.
    page.wait_for_selector("[role=status] >> text=400 messages")
    page.evaluate(
        """() => {
            const replace = history.replaceState.bind(history);
            window.changes = 0;
            history.replaceState = (...given) => (window.changes++, replace(...given));
            for (let press = 0; press < 300; press++) dispatchEvent(new KeyboardEvent("keydown", { key: "j" }));
        }"""
    )
    page.wait_for_url("**at=192.0.2.1*")
    # The first row is the day.
    page.wait_for_selector(".row.chosen >> text=message 101")
    assert page.evaluate("window.changes") < 20


def test_a_daemon_that_goes_away_and_comes_back(console: ScriptedConsole, open_page: Callable[..., Page]) -> None:
    """The live page says so, goes on behind its last message, and takes back what it said."""
    away = threading.Event()

    def status(_: Any) -> Any:
        return (502, {"error": "Bad Gateway"}) if away.is_set() else STATUS

    def live(given: dict[str, list[str]]) -> Any:
        if away.is_set():
            return 502, {"error": "Bad Gateway"}
        if "last_event_id" in given:
            assert given["last_event_id"] == ["run-1~1~2~id"]
            return events(("message", plain_object(2, "after")), ended=console.ended)
        return first()

    def first() -> Iterator[bytes]:
        yield b"retry: 50\n\nid: run-1~1~2~id\n"
        away.set()
        yield from events(("message", plain_object(1, "before")))

    console.answers |= {"status": status, "live": live}
    page = open_page(console.url)
    page.wait_for_selector(".row >> text=before")
    page.wait_for_selector(".state >> text=Bad Gateway")
    page.wait_for_selector(".tools >> text=no answer")
    away.clear()
    page.wait_for_selector(".row >> text=after")
    page.wait_for_selector(".tools >> text=receiving")
    assert page.locator(".row >> text=before").count() == 1
    assert page.locator(".state").inner_text() == ""


def test_a_session_that_expires_leads_to_the_login_and_back(
    console: ScriptedConsole, open_page: Callable[..., Page]
) -> None:
    """Also with names: the page asks for the name, and is where it was after the login."""
    session = {"expires": True, "expired": False}

    def guarded(answer: Any) -> Any:
        def answered(given: Any) -> Any:
            # With the search, and not before: the look at the status leads to the login as well.
            if session["expires"] and given.get("grep") == ["x"]:
                session.update(expires=False, expired=True)
            return (401, {"error": "log in first", "field": "user"}) if session["expired"] else answer(given)

        return answered

    console.answers = {path: guarded(answer) for path, answer in console.answers.items()}

    def login(given: Any) -> Any:
        assert given == {"user": "alice", "password": "right"}
        session["expired"] = False
        return {"csrf": "token"}

    console.answers["login"] = login
    page = open_page(f"{console.url}/search")
    page.wait_for_selector("text=message 39")
    page.get_by_label("Text", exact=True).fill("x")
    page.keyboard.press("Enter")
    page.get_by_label("Name").fill("alice")
    page.get_by_label("Password").fill("right")
    page.keyboard.press("Enter")
    page.wait_for_url("**/search?grep=x")
    page.wait_for_selector("text=message 39")


def test_a_place_in_a_list_of_crashes_is_there_after_back(
    console: ScriptedConsole, open_page: Callable[..., Page]
) -> None:
    """Back leads to where the list was scrolled to."""
    group = {"title": "BUG", "kind": "bug", "severity": "dead", "state": "new", "muted": False, "count": 1, "fatal": 0}
    group |= {"incomplete": 0, "machines": {}, "releases": {}, "first": BEGIN, "last": BEGIN, "sparkline": [0] * 24}
    groups = [group | {"id": f"{number:012x}", "title": f"BUG in f{number}"} for number in range(80)]
    console.answers["crashes"] = lambda _: {"groups": groups}
    page = open_page(f"{console.url}/crashes")
    page.get_by_role("link", name="BUG in f70").click()
    page.wait_for_url("**/crashes/*")
    page.go_back()
    page.wait_for_selector("text=BUG in f70")
    until(page, "scrollY > 1000")


def test_what_is_left_out_is_said(console: ScriptedConsole, open_page: Callable[..., Page]) -> None:
    """Resolved and muted crashes are not shown until asked for, and the page says how many there are."""
    group = {"title": "BUG", "kind": "bug", "severity": "dead", "state": "new", "muted": False, "count": 1, "fatal": 0}
    group |= {"incomplete": 0, "machines": {}, "releases": {}, "first": BEGIN, "last": BEGIN, "sparkline": [0] * 24}
    changes: tuple[dict[str, Any], ...] = (
        {},
        {"state": "resolved"},
        {"muted": True},
        {"muted": True, "state": "resolved"},
    )
    groups = [
        group | {"id": f"{number:012x}", "title": f"BUG in f{number}"} | one for number, one in enumerate(changes)
    ]
    console.answers["crashes"] = lambda _: {"groups": groups}
    page = open_page(f"{console.url}/crashes")
    page.wait_for_selector("text=Not shown: 1 resolved, 2 muted.")
    assert page.locator(".group").count() == 1
    page.get_by_role("button", name="Show them").click()
    until(page, "document.querySelectorAll('.group').length === 4")
    assert page.get_by_text("Not shown").count() == 0
    page.go_back()
    until(page, "document.querySelectorAll('.group').length === 1")


def test_parts_of_the_store_that_cannot_be_read_are_said(
    console: ScriptedConsole, open_page: Callable[..., Page]
) -> None:
    """On each page whose numbers lack them."""
    damaged = [{"text": "segment 7 ends too early"}]
    console.answers |= {
        "hosts": lambda _: {"hosts": [], "damaged": damaged},
        "crashes": lambda _: {"groups": [], "damaged": damaged},
        "patterns": lambda _: {"patterns": [], "damaged": damaged},
    }
    page = open_page(f"{console.url}/machines")
    for place in ("machines", "crashes", "patterns"):
        page.goto(f"{console.url}/{place}")
        page.wait_for_selector(".notice >> text=segment 7 ends too early")


def test_the_live_page_begins_with_the_crashes_among_its_messages(
    console: ScriptedConsole, open_page: Callable[..., Page]
) -> None:
    """A crash of before is a row at its time, with the name of its machine, and the navigation counts it."""
    group = {"id": "0123456789ab", "title": "BUG in f", "severity": "dead", "last": BEGIN + 0.0025}
    group |= {"machines": {"192.0.2.1": [1, BEGIN, BEGIN + 0.0025]}, "names_of": {"192.0.2.1": "web01"}}
    event = {"kind": "lost", "address": "192.0.2.1", "received_at": BEGIN + 0.0035, "text": "3 messages lost"}
    console.answers |= {
        "crashes": lambda _: {"groups": [group]},
        "events": lambda _: {"events": [event]},
        "live": lambda _: events(
            *(("message", plain_object(number, f"text {number}", name="web01")) for number in range(1, 5)),
            ended=console.ended,
        ),
    }
    page = open_page(console.url)
    page.wait_for_selector(".row.crash")
    texts = page.locator(".row:not(.day) .text").all_inner_texts()
    assert texts == ["text 1", "text 2", "BUG in f", "text 3", "3 messages lost", "text 4"]
    assert set(page.locator(".row .host").all_inner_texts()) == {"web01"}
    page.wait_for_selector("nav .count >> text=1")


def test_a_crash_that_comes_while_the_live_page_begins_is_one_row(
    console: ScriptedConsole, open_page: Callable[..., Page]
) -> None:
    """The page gets it with those of before, and again from the live tail; the next one of the bug is another row."""
    shown = threading.Event()
    report: dict[str, Any] = {"format": "report", "title": "BUG in f", "group": "0123456789ab", "severity": "dead"}
    report |= {"source": {"address": "192.0.2.1", "port": 1}, "received_at": BEGIN + 0.0025}
    group = {"id": report["group"], "title": report["title"], "severity": "dead", "last": report["received_at"]}
    group["machines"] = {"192.0.2.1": [1, BEGIN, report["received_at"]]}

    def live(_: Any) -> Iterator[bytes]:
        yield from events(*(("message", plain_object(number, f"text {number}")) for number in range(1, 5)))
        shown.wait(PATIENCE)
        again = [{"kind": "report", "finding": report | {"received_at": BEGIN + at}} for at in (0.0025, 60.0)]
        yield from events(*(("finding", each) for each in again), ended=console.ended)

    console.answers |= {"crashes": lambda _: {"groups": [group]}, "events": lambda _: {"events": []}, "live": live}
    page = open_page(console.url)
    page.wait_for_selector(".row.crash")
    shown.set()
    until(page, "document.querySelectorAll('.row.crash').length >= 2")
    assert page.locator(".row:not(.day) .text").all_inner_texts() == [
        *("text 1", "text 2", "BUG in f", "text 3", "text 4", "BUG in f"),
    ]


def test_a_crash_while_the_connection_was_lost_is_a_row(
    console: ScriptedConsole, open_page: Callable[..., Page]
) -> None:
    """The live tail does not repeat it: the page asks the store, and shows it once if the tail has it as well."""
    report: dict[str, Any] = {"format": "report", "title": "BUG in f", "group": "0123456789ab", "severity": "dead"}
    report |= {"source": {"address": "192.0.2.1", "port": 1}, "received_at": BEGIN + 5.0}
    group = {"id": report["group"], "title": report["title"], "severity": "dead", "last": report["received_at"]}
    group["machines"] = {"192.0.2.1": [1, BEGIN, report["received_at"]]}
    groups: list[dict[str, Any]] = []
    lost, shown = threading.Event(), threading.Event()

    def live(_: Any) -> Iterator[bytes]:
        if not lost.is_set():
            yield b"retry: 10\n\n"
            yield from events(("message", plain_object(1, "text 1")), ended=lost)
            return
        yield from events(ended=shown)
        later = report | {"title": "BUG in g", "received_at": BEGIN + 9.0}
        found = [("finding", {"kind": "report", "finding": each}) for each in (report, later)]
        yield from events(*found, ended=console.ended)

    console.answers |= {"crashes": lambda _: {"groups": groups}, "events": lambda _: {"events": []}, "live": live}
    page = open_page(console.url)
    page.wait_for_selector("text=text 1")
    until(page, "performance.getEntriesByType('resource').some((one) => one.name.includes('/events'))")
    groups.append(group)
    lost.set()
    page.wait_for_selector(".row.crash >> text=BUG in f")
    shown.set()
    page.wait_for_selector(".row.crash >> text=BUG in g")
    assert page.locator(".row.crash .text").all_inner_texts() == ["BUG in f", "BUG in g"]


def test_the_result_of_another_filter_begins_at_its_top(
    console: ScriptedConsole, open_page: Callable[..., Page]
) -> None:
    """It is not shown from where the one before was scrolled to."""
    rows = [plain_object(number, f"message {number}") for number in range(300)]
    console.answers["messages"] = lambda _: found(list(reversed(rows)))
    page = open_page(f"{console.url}/search")
    # The rows come in pieces.
    page.wait_for_selector("[role=status] >> text=300 messages")
    page.evaluate("document.querySelector('.list').scrollTop = 3000")
    page.wait_for_selector("text=/^message 150$/")
    page.get_by_label("Level").select_option("err")
    page.wait_for_url("**level=err**")
    page.wait_for_selector("text=message 299")
    until(page, "document.querySelector('.list').scrollTop === 0")


def test_much_userdata_leaves_the_log_in_reach(console: ScriptedConsole, open_page: Callable[..., Page]) -> None:
    """Netconsole takes 256 fields; the first ones are shown, and the others on demand."""
    fields = {f"key{number}": f"value{number}" for number in range(256)}
    host = {"address": "192.0.2.1", "name": "web01", "first": BEGIN, "last": BEGIN, "messages": 1, "levels": [0] * 8}
    host |= {"lost": 0, "likely_lost": 0, "limited": 0, "crashes": 0, "userdata": fields, "silent_for": 1.0}
    console.answers["hosts/*"] = lambda _: host
    page = open_page(f"{console.url}/machines/192.0.2.1")
    page.wait_for_selector("text=/^value0$/")
    assert page.locator(".facts dt").count() < 20
    page.get_by_role("button", name="Show all 256").click()
    until(page, "document.querySelectorAll('.facts dt').length === 256")
