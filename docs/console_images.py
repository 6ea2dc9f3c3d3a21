"""Draws the pictures of docs/console: every page, wide and narrow, light and dark.

Needs Debian's chromium and pngquant, Python's playwright, and the recordings of kernels beside the checkout.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.console.fleet import TITLE, receiving, send
from tests.console.tools import CHROMIUM

IMAGES = Path(__file__).parent / "images" / "console"
#: Pages, and what is there once they are complete.
PAGES = {
    "live": ("/", ".row.crash"),
    "search": ("/search?level=warn&mark=crashme", ".u-over"),
    "machines": ("/machines", "tbody tr"),
    "machine": ("/machines/192.0.2.13", ".bootlog .row"),
    "crashes": ("/crashes", ".group"),
    "crash": ("", ".trace"),
    "patterns": ("/patterns", "tbody tr"),
    "receiver": ("/receiver", ".flow li"),
    "message": ("", ".row.chosen"),
    "login": ("/login", "input"),
}
#: A width with its height: of a screen, and of a telephone.
SIZES = {1600: 900, 380: 760}


def main() -> None:
    """Draw all pictures. Takes a minute."""
    from playwright.sync_api import sync_playwright

    IMAGES.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as name,
        receiving(Path(name), time.time()) as (daemon, url),
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for number, (width, height) in enumerate(SIZES.items()):
            for theme in ("light", "dark"):
                context = browser.new_context(
                    viewport={"width": width, "height": height}, color_scheme=theme, timezone_id="UTC"
                )
                page = context.new_page()
                for place, (path, ready) in PAGES.items():
                    if place == "crash":
                        page.goto(f"{url}/crashes")
                        page.get_by_role("link", name=TITLE).first.click()
                    elif place == "message":
                        page.goto(f"{url}/search?grep=NULL+pointer&host=192.0.2.23")
                        page.locator(".row.message").first.click()
                        page.get_by_role("link", name="Context").click()
                    else:
                        page.goto(url + path)
                    if place == "live":
                        page.wait_for_selector(".row.message")
                        send(daemon.port, "amd64-7.3-warn", f"127.0.0.{20 + 2 * number + (theme == 'dark')}")
                    page.wait_for_selector(ready)
                    page.wait_for_selector("nav .count" if place != "login" else "input")
                    # The chart is painted in a frame of its own; a rate is of a whole second.
                    page.wait_for_timeout(2500 if place == "live" else 500)
                    page.screenshot(path=IMAGES / f"{place}-{width}-{theme}.png")
                context.close()
        browser.close()
    smaller()


def smaller() -> None:
    """Reduce the pictures to 64 colours, which nobody sees in them."""
    if shutil.which("pngquant") is None:
        sys.exit("install pngquant")
    for path in sorted(IMAGES.glob("*.png")):
        subprocess.run(["pngquant", "--force", "--ext", ".png", "--speed", "1", "--nofs", "64", path], check=True)


if __name__ == "__main__":
    main()
