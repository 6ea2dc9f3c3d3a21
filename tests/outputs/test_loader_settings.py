"""The settings of modules, and the texts of errors in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from netconsd.outputs.loader import ModuleError, load
from netconsd.outputs.parameters import LISTED
from netconsd.outputs.setting_types import ModuleSetting
from tests.support.module_files import FUNCTIONS, METHODS, PLAIN, Write, refusal, text, toml, with_settings


def test_settings(write: Write) -> None:
    """Settings are the keyword-only parameters; text and TOML values are converted to their annotations."""
    path = write("x.py", with_settings("*", "n: int = 1", "b: bool = False", "p: Path", "c: typing.Literal['r'] = 'r'"))
    values = {"n": text("5"), "b": text("yes"), "p": toml("logs")}
    assert load([path], {"x": values}).loaded[0].module.settings == {
        "n": 5,
        "b": True,
        "p": Path("/base/logs"),
        "c": "r",
    }


def test_unknown_setting(write: Write) -> None:
    """An unknown setting is an error with a similar setting first, and some of the module's settings."""
    path = write("x.py", with_settings("*", "size: int = 10", "where: Path", "name: str | None = None"))
    assert refusal(path, settings={"x": {"siez": text("1", "x.siez"), "where": text("y")}}) == (
        '--set x.siez: module x has no setting "siez"; did you mean "size"? It has size, where, name'
    )
    many = [f"p{number}" for number in range(LISTED + 3)]
    path = write("y.py", with_settings("*", *(f"{name}: int = 1" for name in many)))
    error = refusal(path, settings={"y": {"zzz": text("1", "y.zzz")}})
    assert error == f'--set y.zzz: module y has no setting "zzz"; it has {", ".join(many[:LISTED])} and 3 more'


def test_no_settings(write: Write) -> None:
    """A setting for a module without settings is an error, for a class and for a file."""
    for source in (PLAIN, FUNCTIONS):
        error = refusal(write("x.py", source), settings={"x": {"y": text("1")}})
        assert error == '--set x.y: module x has no setting "y"; it has none'


def test_badly_typed_settings(write: Write) -> None:
    """Each value of a wrong type is an error with the place of the value."""
    path = write("x.py", with_settings("*", "y: int = 1", "z: bool = False"))
    assert refusal(path, settings={"x": {"y": toml("big"), "z": text("perhaps", "x.z")}}) == (
        "2 errors in the output modules:\n"
        '  - netconsd.toml:3: [module.x] y: "big" is not a whole number\n'
        '  - --set x.z: "perhaps" is not true or false'
    )


def test_settings_without_a_module(write: Write) -> None:
    """Settings for an unknown module are an error with a similar name, or the names of the known ones."""
    path = write("d/logger.py", PLAIN)
    write("d/needy.py", with_settings("*", "where: Path"))
    assert refusal(path.parent, settings={"loger": {"y": text("1", "loger.y")}}) == (
        '--set loger.y: no module "loger" was found; did you mean "logger"?'
    )
    assert refusal(path.parent, settings={"zzz": {"y": text("1", "zzz.y")}}) == (
        '--set zzz.y: no module "zzz" was found, only logger, needy'
    )
    assert refusal(settings={"loger": {}}) == (
        'settings of loger: no module "loger" was found because no modules are loaded; load it with --modules'
    )


def test_spare_settings(write: Write) -> None:
    """Settings in ``spare`` need no module; if a module has their name, it gets them."""
    path = write("x.py", with_settings("*", "y: int = 1"))
    selection = load([path], {"x": {"y": text("2")}, "z": {"y": text("3")}}, spare={"x", "z"})
    assert selection.loaded[0].module.settings == {"y": 2}


def test_settings_for_one_of_several(write: Write) -> None:
    """If a file has several modules, settings under its name are an error that has the right names."""
    path = write("pair.py", PLAIN + "\n@implementer(IOutputModule)\nclass Another:" + METHODS)
    assert refusal(path, settings={"pair": {"y": text("1", "pair.y")}}) == (
        '--set pair.y: no module "pair" was found; write [module."pair.Plain"] or --set pair.Plain.KEY=VALUE'
    )


def test_settings_of_a_failed_file(write: Write) -> None:
    """Settings for a module whose file failed cause no further error."""
    path = write("x.py", "1 +")
    assert (
        refusal(path, settings={"x": {"y": text("1")}, "x.A": {}}) == f"{path}:1: is not valid Python: invalid syntax"
    )


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        (("*", "y"), 'the parameter "y" of its constructor has no annotation, such as "y: str"'),
        (
            ("y: str",),
            'the parameter "y" of its constructor must be keyword-only to be a setting: write "def __init__(',
        ),
        (("*", "y: bytes = b''"), 'the parameter "y" of its constructor: the type bytes is not one that a setting can'),
        (("*", "y: Gone = 1"), "the annotations of its constructor cannot be resolved: name 'Gone' is not defined"),
    ],
)
def test_bad_constructor(write: Write, parameters: tuple[str, ...], reason: str) -> None:
    """A constructor whose settings cannot be read is an error, in a file and in a directory."""
    path = write("d/x.py", with_settings(*parameters))
    for spec in (path, path.parent):
        assert refusal(spec).startswith(f"{path}: module x: {reason}")


def test_positional_with_default(write: Write) -> None:
    """A positional parameter with a default is not a setting and not an error."""
    path = write("x.py", with_settings("clock=None", "*args", "y: int = 1", "**more"))
    assert load([path], {"x": {"y": text("2")}}).loaded[0].module.settings["y"] == 2
    assert 'no setting "clock"; it has y' in refusal(path, settings={"x": {"clock": text("1")}})


def test_the_hint_of_an_unknown_setting(write: Write) -> None:
    """An unknown setting's own hint replaces the suggestion of a similar name; a known setting needs none."""
    path = write("x.py", with_settings("*", "ports: int = 1", "rate: int = 1"))
    hinted = [ModuleSetting(1, f"n.toml:{line}", Path("/"), hint="; HINT") for line in (1, 2)]
    error = refusal(path, settings={"x": {"port": hinted[0], "rate": hinted[1]}})
    assert error == 'n.toml:1: module x has no setting "port"; HINT'


INHERITED = """
from typing import Any
from zope.interface import implementer
from netconsd.interfaces import IOutputModule

@implementer(IOutputModule)
class _Base:
    def __init__(self, *, size: int = 1, needed: str):
        '''
        :param size: the size.
        '''
        self.size, self.needed = size, needed
    def start(self, worker_count): ...
    def handle(self, worker, message): ...
    def stop(self): ...

class Derived(_Base):
    def __init__(self, *, url: str, size: int = 2, **settings: Any):
        super().__init__(size=size, **settings)
        self.url = url
"""


def test_settings_of_a_base_class(tmp_path: Path) -> None:
    """A constructor with ``**settings`` has those of its base class; its own take precedence, and missing ones are
    named."""
    path = tmp_path / "derived.py"
    path.write_text(INHERITED)
    values = {name: ModuleSetting(name, name, tmp_path) for name in ("url", "needed")}
    module = load([path], {"derived": values}).loaded[0].module
    assert (module.url, module.needed, module.size) == ("url", "needed", 2)
    with pytest.raises(ModuleError, match='needs the setting "needed"'):
        load([path], {"derived": {"url": values["url"]}})
    with pytest.raises(ModuleError, match="it has url, size, needed"):
        load([path], {"derived": {**values, "colour": values["url"]}})
