"""What the pages need of the API beside its data: how to log in, and where a new live tail goes on."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest

from netconsd.console.access import Access
from netconsd.testing import extended
from tests.console.browser import Browser
from tests.console.running import Events, Running
from tests.console.secrets_of_tests import LINE, Clock, put


@pytest.mark.parametrize(("text", "field"), [(f"ann:{LINE}", "user"), (LINE, None)])
def test_a_refusal_says_whether_a_login_needs_a_name(tmp_path: Path, text: str, field: str | None) -> None:
    """The page asks for a name only if passwords have names."""
    browser = Browser(Access(put(tmp_path / "passwords", text), None, [], Clock()))
    refused = browser.ask("GET", "/api/v1/status")
    assert refused.status == 401
    assert refused.object.get("field") == field


def test_a_place_is_not_a_condition(tmp_path: Path) -> None:
    """A live tail that continues at a place shares the filter of the others."""
    browser = Browser(Access(None, None, [], Clock()))
    browser.ask("GET", "/api/v1/live?level=err&last=5&last_event_id=run-1~1~2~192.0.2.1/17/5")
    browser.ask("GET", "/api/v1/live?level=err&last_event_id=nonsense")
    assert browser.live.opened == [{"level": ["err"]}, {"level": ["err"]}]


@pytest.mark.timeout(300)
def test_a_new_live_tail_goes_on_at_a_place(tmp_path: Path) -> None:
    """A new EventSource, which sends no header, gets what follows the message that its URL names."""
    pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'netconsd[store]'")
    running = Running(tmp_path / "store", tmp_path / "log")
    try:
        events = Events(running.http, "?last=10")
        running.send([extended(f"m {number}", seq=number, ts_usec=number + 1) for number in range(5)])
        assert events.take(3) == ["m 0", "m 1", "m 2"]
        place = events.last_id
        events.close()
        events = Events(running.http, f"?last=10&last_event_id={quote(place)}")
        assert events.take(2) == ["m 3", "m 4"]
        events.close()
    finally:
        running.stop()
