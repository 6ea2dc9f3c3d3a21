"""Asks loaded modules, without starting them, whether their start would fail."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from netconsd.interfaces import ICheckable, ISends
from netconsd.outputs.errors import about_setting, place, raised, said
from netconsd.outputs.loader import Loaded
from netconsd.outputs.runner import missing_package
from netconsd.outputs.setting_types import ModuleSetting
from netconsd.outputs.standardoutput import release
from netconsd.rendering import printable


def check(loaded: Iterable[Loaded], settings: Mapping[str, Mapping[str, ModuleSetting]] | None = None) -> list[str]:
    """Call ``check`` of each module that provides :class:`~netconsd.interfaces.ICheckable`.

    :param settings: the settings of each module by its name.
    :returns: a text for each error. It begins with the place of the setting that it is about, if the module says which
        one that is, otherwise with the module's name.
    """
    texts = []
    modules = list(loaded)
    for each in modules:
        if ICheckable.providedBy(each.module):
            try:
                each.module.check()
            except KeyboardInterrupt:
                raise
            # sys.exit() in a module must not end the check of the others.
            except BaseException as error:
                values = (settings or {}).get(each.name, {})
                texts += [_text(each, cause, values) for cause in _causes(error)]
    for each in modules:
        release(each.module)
    return texts


def send_tests(loaded: Iterable[Loaded]) -> tuple[list[str], list[str]]:
    """Call ``send_test`` of each module that provides :class:`~netconsd.interfaces.ISends`, one after the other.

    :returns: a text with the server's answer for each record that was delivered, and one for each that was not.
    """
    answers, failures = [], []
    for each in loaded:
        if ISends.providedBy(each.module):
            try:
                answers.append(
                    f"module {each.name}: the test record was delivered: {_one_line(each.module.send_test())}"
                )
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                failures.append(f"module {each.name}: {_one_line(_reason(each, error))}")
    return answers, failures


def _one_line(text: str) -> str:
    """Return a server's text as one line that a terminal can show."""
    return printable(" ".join(text.split()))


def _causes(error: BaseException) -> list[BaseException]:
    if not isinstance(error, BaseExceptionGroup):
        return [error]
    return [cause for part in error.exceptions for cause in _causes(part)]


def _text(loaded: Loaded, error: BaseException, settings: Mapping[str, ModuleSetting]) -> str:
    if about := about_setting(error, settings):
        return f"{settings[about[0]].origin}: {about[1]}"
    return f"module {loaded.name} would not start: {_reason(loaded, error)}"


def _reason(loaded: Loaded, error: BaseException) -> str:
    if text := missing_package(error):
        return text
    line = place(str(loaded.path), error)
    # A line helps where the text is not for people.
    return said(error) + (f" ({line})" if said(error) == raised(error) and line != str(loaded.path) else "")
