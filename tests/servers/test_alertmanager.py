"""The module alerts with the real Alertmanager (.ci/install-servers), and its process."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from netconsd.alerts.alert import Alert
from netconsd.alerts.recipients import Alertmanager, Partly
from netconsd.outputs.loader import load
from netconsd.outputs.setting_types import ModuleSetting
from netconsd.testing import crash_report, event
from tests.support.servers import SERVERS, ServerProcess, free_port, libraries, listens, running, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


TEMPLATE = Path("/usr/share/prometheus/alertmanager/default.tmpl")


class AlertmanagerServer(ServerProcess):
    """Alertmanager, whose alerts a test reads."""

    def __init__(self, directory: Path) -> None:
        program = SERVERS / "usr/bin/prometheus-alertmanager"
        if not program.exists():
            pytest.skip("needs prometheus-alertmanager: bash .ci/install-servers")
        configuration = directory / "alertmanager.yml"
        configuration.write_text("route: {receiver: nobody}\nreceivers: [{name: nobody}]\n")
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        command = [
            *(str(program), f"--config.file={configuration}", f"--storage.path={directory / 'data'}"),
            *(f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address="),
        ]
        if not TEMPLATE.exists():
            # Debian's program reads its template there, and has no option for it.
            if os.geteuid() != 0 or shutil.which("unshare") is None:
                pytest.skip(f"needs {TEMPLATE}, or root")
            script = f"mount --bind {SERVERS}/usr/share /usr/share && exec {' '.join(command)}"
            command = ["unshare", "-m", "bash", "-c", script]
        super().__init__(command, directory / "log", listens(port), libraries())

    def alerts(self) -> dict[str, dict[str, Any]]:
        """Return the alerts that fire, by rule and subject."""
        with urlopen(f"{self.url}/api/v2/alerts") as answer:
            found = json.load(answer)
        labels = [(alert["labels"], alert) for alert in found]
        return {f"{each['alertname']} {each.get('instance') or each['title']}": alert for each, alert in labels}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[AlertmanagerServer]:
    """A running Alertmanager."""
    server = AlertmanagerServer(tmp_path)
    with running(server):
        yield server


@pytest.fixture
def module(tmp_path: Path, server: AlertmanagerServer) -> Iterator[Any]:
    """A started module for it."""
    values = {
        "alertmanager": [server.url], "directory": str(tmp_path / "stream"), "batch_seconds": "0.05s", "shortest": "1s",
        "console_url": "http://127.0.0.1:8514",
    }  # fmt: skip
    typed = {name: ModuleSetting(value, name, tmp_path) for name, value in values.items()}
    module = load(["alerts"], {"alerts": typed}).loaded[0].module
    module.start(1)
    yield module
    module.finish()


def test_an_alert_fires_and_ends(server: AlertmanagerServer, module: Any) -> None:
    """A crash fires at once with its words and its link, and the machine's boot ends it."""
    now = time.time()
    module.handle_report(0, crash_report("BUG: x", received_at=now, fatal=True))
    died, new = "netconsd_died 192.0.2.1", "netconsd_new BUG: x"
    until(lambda: set(server.alerts()) == {died, new}, "both alerts")
    alert = server.alerts()[died]
    assert alert["annotations"]["summary"] == "192.0.2.1 died: BUG: x"
    assert alert["generatorURL"] == "http://127.0.0.1:8514/machines/192.0.2.1"
    module.handle_event(0, event("rebooted", "rebooted after a crash", received_at=now + 1, how="crash"))
    until(lambda: set(server.alerts()) == {new}, "the end")


def test_killed_and_started_again(server: AlertmanagerServer, module: Any) -> None:
    """What happens while it is away fires after its start: a new alert, and one that it had forgotten."""
    module.handle_event(0, event("silent", "silent", received_at=time.time()))
    until(lambda: set(server.alerts()) == {"netconsd_silent 192.0.2.1"}, "the alert")
    server.kill()
    module.handle_event(0, event("silent", "silent", address="192.0.2.2", received_at=time.time()))
    until(lambda: "not notified" in " ".join(module.faults()), "the fault")
    server.start()
    until(lambda: "netconsd_silent 192.0.2.2" in server.alerts(), "the new alert")
    until(lambda: not module.faults(), "the end of the fault")
    assert next(metric.value for metric in module.metrics() if metric.name == "alerts_firing") == 2


def test_its_answer_to_a_bad_alert(server: AlertmanagerServer) -> None:
    """It answers 400 to a batch with a bad alert, whose good ones fire: the error is about the bad one only."""
    now = time.time()
    good, bad = [Alert("silent", f"192.0.2.{n}", "x", f"192.0.2.{n}", "", "hung", now, now) for n in (1, 2)]
    bad.since = now + 7 * 86_400
    with pytest.raises(Partly, match=r"^1 of 2 refused: 400"):
        Alertmanager(server.url, {}, 10.0, None).tell([good, bad], [], now)
    assert set(server.alerts()) == {"netconsd_silent 192.0.2.1"}
