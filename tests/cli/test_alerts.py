"""``netconsd alerts test`` tells the recipients of the configuration, and prints their answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from netconsd.cli.alerts import main
from tests.support.http_server import serving

Capture = pytest.CaptureFixture[str]


def test_a_test(tmp_path: Path, capsys: Capture) -> None:
    """The recipients of the file are notified, also if other modules are named; the answers are printed."""
    with serving() as server:
        file = tmp_path / "netconsd.toml"
        file.write_text(
            'modules = ["printer", "alerts", "jsonl"]\n[module.printer]\nlevel = "err"\n'
            f'[module.jsonl]\ndirectory = "/d"\n[module.alerts]\nwebhook = "{server.url}/x"\n'
        )
        assert main(["test", "--config", str(file)]) == 0
        assert capsys.readouterr().out.endswith(f"webhook {server.url}: 200 OK\n")
        server.answer = lambda request: (403, {}, b"who?")
        assert main(["test", "--config", str(file)]) == 1
        assert "403" in capsys.readouterr().err
        assert len(server.requests) == 2


def test_without_recipients(capsys: Capture) -> None:
    """Without a recipient, the error names the settings."""
    assert main(["test"]) == 1
    assert "alertmanager, webhook, email_to or command" in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["tets"]])
def test_another_word(words: list[str], capsys: Capture) -> None:
    """Without the word test, nothing is sent."""
    assert main(words) == 2
    assert "netconsd alerts test" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--help"], ["-h"]])
def test_help(words: list[str], capsys: Capture) -> None:
    """Its help has its usage."""
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith("Usage: netconsd alerts test")
