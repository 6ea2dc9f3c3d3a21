"""The log of a free-threaded Python says whether the GIL is on, and why."""

from __future__ import annotations

import sys
import warnings

import pytest

from netconsd.monitor import gil


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gil, "turned_on_by", [])
    monkeypatch.setattr(sys, "version", "3.14.7 free-threading build (main)")
    monkeypatch.setattr(warnings, "showwarning", lambda *args, **more: None)


def set_gil(monkeypatch: pytest.MonkeyPatch, on: bool) -> None:
    """As if the GIL were on or off."""
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: on, raising=False)


def test_without_the_gil_the_log_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GIL that is off is worth a sentence: the workers use several processors."""
    set_gil(monkeypatch, False)
    assert "without its global lock" in gil.described()


def test_an_ordinary_python_has_nothing_to_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """An ordinary build always has the GIL."""
    set_gil(monkeypatch, True)
    monkeypatch.setattr(sys, "version", "3.14.7 (main)")
    assert gil.described() == ""


def test_the_library_that_turned_the_gil_on_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python's own warning has the name of the module."""
    set_gil(monkeypatch, False)
    gil.watch()
    text = (
        "The global interpreter lock (GIL) has been enabled to load module '_re2', which has not declared that it can "
        "run safely without the GIL."
    )
    warnings.showwarning(RuntimeWarning(text), RuntimeWarning, "file", 1)
    set_gil(monkeypatch, True)
    assert "turned on for _re2," in gil.described()


def test_a_gil_that_was_on_from_the_start_has_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """PYTHON_GIL=1, or a library that was there before the watch."""
    set_gil(monkeypatch, True)
    gil.watch()
    assert "PYTHON_GIL=1" in gil.described()
