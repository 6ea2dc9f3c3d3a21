"""Text of strangers in the pages: nothing runs, nothing hides. And no page excludes somebody: axe-core."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.console.hostile import HOST, TEXTS, hostile_console
from tests.console.scripted_console import ScriptedConsole
from tests.console.tools import HERE, need

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

PAGES = {
    "live": "/",
    "search": "/search?grep=a&at=192.0.2.66/1795849100/4",
    "machines": "/machines",
    "machine": f"/machines/{HOST}",
    "crashes": "/crashes",
    "crash": "/crashes/0123456789ab",
    "patterns": "/patterns",
    "receiver": "/receiver",
    "message": f"/m/{HOST}/1795849100/5",
    "login": "/login",
    "nothing": "/nothing",
}
#: An element of each page that is there once its data is.
READY = {
    "live": ".row.event",
    "search": ".detail",
    "machines": "tbody tr",
    "machine": ".bootlog .row",
    "crashes": ".group",
    "crash": ".trace",
    "patterns": "tbody tr",
    "receiver": ".flow li",
    "message": ".row.chosen",
    "login": "input[type=password]",
    "nothing": ".empty",
}
#: The text of all nodes of the document, shown or not, and of the attributes that are shown.
ALL_TEXT = """() => {
    const found = [document.title];
    const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walk.nextNode()) found.push(walk.currentNode.data);
    for (const one of document.querySelectorAll("[title], [aria-label]")) {
        found.push(one.getAttribute("title") ?? "", one.getAttribute("aria-label") ?? "");
    }
    return found;
}"""
# Of the text of rows, screen readers and the page itself: the line ends of a trace, and thin spaces of numbers.
HIDDEN = re.compile(
    r"[\x00-\x09\x0b-\x1f\x7f-\xa0\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ue000-\uf8ff]"
)


@pytest.fixture(scope="module")
def console() -> Iterator[ScriptedConsole]:
    """A console all of whose texts are attacks."""
    with hostile_console().served() as console:
        yield console


@pytest.mark.parametrize("name", PAGES)
def test_hostile_text_neither_runs_nor_hides(
    name: str, console: ScriptedConsole, open_page: Callable[..., Page]
) -> None:
    """No element, attribute or script comes of a text, and each of its characters can be seen."""
    page = open_page(console.url + PAGES[name])
    page.wait_for_selector(READY[name])
    assert page.evaluate("window.attacked") is None
    # Only the page's own elements: none of those in the texts.
    assert (
        page.locator(
            "#app img, #app script, #app b, #app iframe, #app [onload], #app [onerror], #app [onfocus]"
        ).count()
        == 0
    )
    assert page.evaluate("[...document.querySelectorAll('a')].every((one) => /^https?:$/.test(one.protocol))")
    for text in page.evaluate(ALL_TEXT):
        assert not HIDDEN.search(text), ascii(text)
    if name in ("live", "search"):
        assert page.get_by_text("safe\\u202e\\u2066gnp.exe\\u2069\\u200b\\u200f hidden\\xadword").count() >= 1
        assert page.get_by_text(TEXTS[0]).count() >= 1


@pytest.mark.parametrize("name", PAGES)
def test_pages_are_accessible(name: str, console: ScriptedConsole, open_page: Callable[..., Page]) -> None:
    """No violation of WCAG 2.2 A or AA, wide and narrow, light and dark; nothing is wider than the screen."""
    need("npm packages")
    page = open_page(console.url + PAGES[name])
    page.wait_for_selector(READY[name])
    for width in (1600, 380):
        for theme in ("light", "dark"):
            page.set_viewport_size({"width": width, "height": 800})
            page.emulate_media(color_scheme=theme)
            # In the dark only the colours are others.
            assert violations(page, colours_only=theme == "dark") == [], (width, theme)
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_dialogs_are_accessible(console: ScriptedConsole, open_page: Callable[..., Page]) -> None:
    """The settings, and the question for a reason."""
    need("npm packages")
    page = open_page(console.url + PAGES["crash"])
    page.get_by_role("button", name="Resolve").click()
    assert violations(page) == []
    page.get_by_role("button", name="Cancel").click()
    page.keyboard.press("?")
    page.wait_for_selector("dialog[open]")
    assert violations(page) == []


RULES = {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
COLOURS = {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}


def violations(page: Any, *, colours_only: bool = False) -> list[str]:
    """Run axe-core in the page, and return its violations in words."""
    if page.evaluate("typeof axe") == "undefined":
        # evaluate() is not subject to the page's policy; a script element would be.
        page.evaluate((HERE / "node_modules" / "axe-core" / "axe.min.js").read_text())
    # Of the rules that pass only the number matters.
    options = {"runOnly": COLOURS if colours_only else RULES, "resultTypes": ["violations"]}
    found = page.evaluate("options => axe.run(options)", options)
    return [
        f"{one['id']}: {one['help']}: {node['html'][:200]} {node['failureSummary'][:400]}"
        for one in found["violations"]
        for node in one["nodes"][:3]
    ]
