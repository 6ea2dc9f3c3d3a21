"""A browser for the tests of the pages, and a page that fails a test for any error."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.console.tools import CHROMIUM, need

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

# Starting the browser on a busy machine.
_START_MS = 60_000
#: How long a page has to show what a test waits for.
PATIENCE_MS = 30_000


# Until it ends, Playwright's loop runs in this thread, in which asyncio.run() fails: not for the whole session.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium without a window."""
    need("chromium", "playwright")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # As root, Chromium refuses its sandbox.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"], timeout=_START_MS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """A function that opens a page at a URL; at the end, its console has no warning or error, and no script failed."""
    faults: list[str] = []
    contexts: list[Any] = []

    def opened(url: str, width: int = 1280, height: int = 800, **options: Any) -> Page:
        context = browser.new_context(viewport={"width": width, "height": height}, timezone_id="UTC", **options)
        contexts.append(context)
        context.set_default_timeout(PATIENCE_MS)
        page = context.new_page()
        page.on("console", lambda message: _note(faults, message.type, message.text))
        page.on("pageerror", lambda error: faults.append(f"exception: {error}"))
        page.on("dialog", lambda dialog: faults.append(f"dialog: {dialog.message}"))
        page.goto(url)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert faults == []


def _note(faults: list[str], kind: str, text: str) -> None:
    # An answer of 4xx, or 502 as of a proxy, which a test asked for, is logged by the browser itself.
    if kind in ("error", "warning") and not re.search(r"the server responded with a status of (4\d\d|502)\b", text):
        faults.append(f"{kind}: {text}")
