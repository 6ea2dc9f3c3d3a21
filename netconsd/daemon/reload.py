"""The reload on SIGHUP: what has changed in the configuration, and when to read it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Final, NamedTuple

from netconsd.daemon.config import Configuration
from netconsd.outputs.setting_types import show
from netconsd.settings import OPTIONS

#: Seconds without a further SIGHUP after which a burst of them is over. Tools that each end with a reload, such as
#: several files of logrotate, follow one another within milliseconds.
BURST_PAUSE: Final = 0.1
#: Seconds from the first SIGHUP of a burst to the reload at the latest.
BURST_LIMIT: Final = 1.0


class Burst:
    """Calls a function once after a burst of calls. For the reactor's thread."""

    def __init__(self, function: Callable[[], object], reactor: Any) -> None:
        self._function = function
        self._reactor = reactor
        self._pending: Any = None
        self._latest = 0.0

    def __call__(self) -> None:
        """Call the function after :data:`BURST_PAUSE` without a further call, or :data:`BURST_LIMIT` at the latest."""
        now = self._reactor.seconds()
        if self._pending is None:
            self._latest = now + BURST_LIMIT
            self._pending = self._reactor.callLater(BURST_PAUSE, self._call)
        else:
            self._pending.reset(max(0.0, min(BURST_PAUSE, self._latest - now)))

    def cancel(self) -> None:
        """Drop a call of the function that is due."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.cancel()

    def _call(self) -> None:
        self._pending = None
        self._function()


class Difference(NamedTuple):
    """A value of the new configuration that the daemon does not run with."""

    text: str
    """``rate changed from 0 to 100``"""
    needs_restart: bool


def differences(running: Configuration, new: Configuration) -> Iterator[Difference]:
    """Compare the configuration of the running daemon with a new one: options, modules, and the modules' settings."""
    for option in OPTIONS.values():
        if any(getattr(running.settings, name) != getattr(new.settings, name) for name in option.fields):
            text = _changed(option.name, running.shown(option.name), new.shown(option.name))
            yield Difference(text, not option.reloadable)
    if running.modules != new.modules:
        yield Difference(_changed("modules", show(running.modules), show(new.modules)), True)
    old_settings, new_settings = running.module_settings, new.module_settings
    # Settings of modules that are not loaded have no effect.
    unused = running.spare & new.spare
    for module in dict.fromkeys([*old_settings, *new_settings]):
        before, after = old_settings.get(module, {}), new_settings.get(module, {})
        for key in dict.fromkeys([*before, *after]):
            old, now = (show(values[key].value) if key in values else "its default" for values in (before, after))
            if old != now and module not in unused:
                yield Difference(_changed(f"{module}.{key}", old, now), True)


def applied(running: Configuration, new: Configuration) -> Configuration:
    """Return the running configuration with the values of the new one that take effect without a restart."""
    settings = running.settings
    set_options = dict(running.set_options)
    for option in OPTIONS.values():
        if option.reloadable:
            settings = replace(settings, **{name: getattr(new.settings, name) for name in option.fields})
            set_options.pop(option.name, None)
            if option.name in new.set_options:
                set_options[option.name] = new.set_options[option.name]
    return replace(running, settings=settings, set_options=set_options)


def _changed(name: str, old: str, new: str) -> str:
    return f"{name} changed from {old} to {new}"
