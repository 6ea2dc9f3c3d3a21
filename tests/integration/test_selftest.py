"""The selftest with the real service."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs, formatEvent

from modules.selftest import Selftest
from netconsd.outputs.loader import ModuleError
from netconsd.receive.reader import Receiver
from netconsd.receive.recvfrom import Receiver as PlainReceiver
from tests.integration.leaks import LoggedErrors
from tests.integration.rig import PATIENCE, is_free, make, running
from tests.support.loopback import Arrivals, needs_ipv6


@needs_ipv6
@pytest.mark.parametrize("receiver", [Receiver, PlainReceiver])
@pytest.mark.parametrize(
    ("address", "count"), [(None, 8), ("127.0.0.1", 4), ("127.0.0.9", 4), ("::1", 4), ("0.0.0.0", 4)]
)
@pytest_twisted.ensureDeferred
async def test_the_service_passes(address: str | None, count: int, receiver: Any) -> None:
    """The start waits for the test messages on every address, with both readers; other modules get them too."""
    module = Arrivals()
    selftest = Selftest(on_failure="exit", timeout=PATIENCE)
    modules = {"module": module, "selftest": selftest}
    with capturedLogs() as events:
        async with running(modules, address=address, listeners=2, receiver=receiver):
            await module.number(count)
    # After the stop, when nothing can follow.
    assert len(module.messages) == count
    texts = [formatEvent(event) for event in events]
    assert len([text for text in texts if text.startswith(f"selftest: {count} messages over ")]) == 1


@pytest_twisted.ensureDeferred
async def test_the_service_fails(logged_errors: LoggedErrors) -> None:
    """If a test message does not arrive, the start fails with the reason, and everything is stopped."""

    class LosesLegacy(Selftest):
        """Drops the legacy message."""

        def handle_batch(self, worker: int, messages: Any) -> None:
            super().handle_batch(worker, [message for message in messages if "legacy" not in message.text])

    service = make({"selftest": LosesLegacy(on_failure="exit", timeout=PATIENCE)})
    service.startService()
    port = service.port
    with pytest.raises(ModuleError, match=r"^selftest: IPv4: the legacy message did not arrive$"):
        await service.started
    assert is_free(port)
    await service.stopService()
    assert len(logged_errors.flush()) == 1


@pytest_twisted.ensureDeferred
async def test_stop_during_the_test(logged_errors: LoggedErrors) -> None:
    """A stop does not wait for a running test; the start fails with that reason."""

    class LosesAll(Selftest):
        """Drops every message."""

        def handle_batch(self, worker: int, messages: Any) -> None:
            pass

    service = make({"selftest": LosesAll(on_failure="exit", timeout=3600.0)})
    service.startService()
    failed: Deferred[Any] = service.started
    await service.stopService()
    with pytest.raises(ModuleError, match=r"^selftest: the stop came before the end of listening\(\)$"):
        await failed
    logged_errors.flush()
