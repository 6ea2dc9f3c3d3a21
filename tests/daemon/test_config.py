"""The configuration: the precedence of command line, file and defaults, and errors that name their place."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netconsd.daemon.config import Configuration, configure
from netconsd.outputs.setting_types import ModuleSetting
from netconsd.settings import OPTIONS, ConfigError, Settings

NO_LIST = 'is not a list of text, such as ["printer", "./modules"]'


@pytest.fixture
def cwd(tmp_path: Path) -> Path:
    """The working directory; the file of :func:`read` is in ``etc`` below it."""
    (tmp_path / "etc").mkdir()
    return tmp_path


def read(
    cwd: Path, text: str = "", modules: tuple[str, ...] = (), sets: tuple[str, ...] = (), **options: str
) -> Configuration:
    """Configure with a file of this text."""
    (cwd / "etc/n.toml").write_text(dedent(text))
    options = {name.replace("_", "-"): value for name, value in options.items()}
    return configure(options, modules=modules, sets=sets, config="etc/n.toml", cwd=cwd)


def file_error(cwd: Path, text: str) -> str:
    """Configure with a file that has an error, and return the text for the user."""
    with pytest.raises(ConfigError) as caught:
        read(cwd, text)
    return str(caught.value)


def option_error(**options: str) -> str:
    """Configure with options that have an error, and return the text for the user."""
    with pytest.raises(ConfigError) as caught:
        configure({name.replace("_", "-"): value for name, value in options.items()})
    return str(caught.value)


def test_nothing() -> None:
    """Without options and file, every setting has its default."""
    assert configure({}) == Configuration(Settings())


# By the option: the text on the command line, the value in the file, and the fields that both set.
EXAMPLES = {
    "address": ("::1", '"::1"', {"address": "::1"}),
    "gc": ("500/1500", '"500/1500"', {"gc_interval": 0.5, "gc_age": 1.5}),
    "reorder": ("1.5", "1.5", {"reorder": 0.0015}),
    "framing": ("line", '"line"', {"framing": "line"}),
    "metrics": ("9100", "9100", {"metrics": "9100"}),
    "allow": ("192.0.2.0/24,::1", '["192.0.2.0/24", "::1"]', {"allow": ("192.0.2.0/24", "::1")}),
    "acks": ("on", "true", {"acks": True}),
    **{
        option.name: (f"{option.bounds[1]}", f"{option.bounds[1]}", {option.fields[0]: option.bounds[1]})
        for option in OPTIONS.values()
        if option.bounds and not option.unit
    },
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_option_sets_its_fields(cwd: Path, name: str) -> None:
    """An option sets its fields from the command line and from the file, where its long name is the key."""
    text, toml, fields = EXAMPLES[name]
    settings: Any = fields
    assert configure({name: text}).settings == read(cwd, f"{name} = {toml}").settings == Settings(**settings)


def test_precedence(cwd: Path) -> None:
    """The command line takes precedence over the file, for each option and each setting."""
    text = """
        port = 1
        workers = 7
        [module.a]
        x = 1
        y = 2
        """
    configuration = read(cwd, text, sets=("a.x=9",), port="2")
    assert (configuration.settings.port, configuration.settings.workers) == (2, 7)
    assert configuration.module_settings == {
        "a": {
            "x": ModuleSetting("9", "--set a.x", cwd, typed=False),
            "y": ModuleSetting(2, "etc/n.toml:6: [module.a] y", cwd / "etc"),
        }
    }


def test_modules(cwd: Path) -> None:
    """Paths become absolute, relative to the file or to the working directory; bare names stay as they are."""
    (cwd / "etc/dir").mkdir()
    text = 'modules = ["printer", "./a", "b.py", "dir", "/c", "../d.so"]'
    etc = str(cwd / "etc")
    assert read(cwd, text).modules == ("printer", f"{etc}/a", f"{etc}/b.py", f"{etc}/dir", "/c", f"{etc}/../d.so")
    assert configure({}, modules=("printer", "etc", "x.py"), cwd=cwd).modules == (
        "printer",
        f"{cwd}/etc",
        f"{cwd}/x.py",
    )


def test_modules_of_the_command_line(cwd: Path) -> None:
    """Modules of the command line replace those of the file, whose settings may then be for other modules."""
    text = 'modules = ["a"]\n[module.a]\nx = 1\n[module.b]\ny = 1\n'
    assert read(cwd, text).spare == frozenset()
    configuration = read(cwd, text, modules=("b",), sets=("b.z=1", "c.z=1"))
    assert configuration.modules == ("b",)
    assert configuration.spare == {"a"}
    assert configuration.module_settings.keys() == {"a", "b", "c"}


def test_empty_table_names_a_module(cwd: Path) -> None:
    """A table without settings is kept: it starts a module of a directory."""
    assert read(cwd, "[module.a]").module_settings == {"a": {}}


def test_set() -> None:
    """The name in --set may have a dot, the value any character, and the last --set of a key takes precedence."""
    configuration = configure({}, sets=("pair.One.key=a.b=c", "x.y=1", "x.y="), cwd=Path("/cwd"))
    assert configuration.module_settings == {
        "pair.One": {"key": ModuleSetting("a.b=c", "--set pair.One.key", Path("/cwd"), typed=False)},
        "x": {"y": ModuleSetting("", "--set x.y", Path("/cwd"), typed=False)},
    }


@pytest.mark.parametrize("text", ["", "x", "x=1", "x.y", ".y=1", "x.=1", "=1"])
def test_bad_set(text: str) -> None:
    """A text that is not NAME.KEY=VALUE is an error."""
    with pytest.raises(ConfigError) as caught:
        configure({}, sets=(text,))
    assert str(caught.value) == f"--set: {text!r} is not NAME.KEY=VALUE"


@pytest.mark.parametrize("spec", ["", "a\0b"])
def test_bad_module(spec: str) -> None:
    """A module's name or path that is empty or has a null byte is an error."""
    with pytest.raises(ConfigError) as caught:
        configure({}, modules=(spec,))
    assert str(caught.value) == f"--modules: {spec!r} is neither a path nor the name of a module"


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("port", "70000", "70000 is not between 0 and 65535"),
        ("port", "http", "'http' is not a whole number"),
        ("port", "1.5", "1.5 is not a whole number"),
        ("port", "", "'' is not a whole number"),
        ("port", "\uff11", "'\uff11' is not a whole number"),
        ("port", "9" * 20, f"'{'9' * 20}' is not a whole number"),
        ("address", "localhost", "'localhost' is not an IPv4 or IPv6 address"),
        ("stop_timeout", "3600001", "3600001 is not between 0 and 3600000 milliseconds"),
        ("allow", "", "'' is not a network, such as 192.0.2.0/24, 2001:db8::/32 or 192.0.2.7"),
        (
            "allow",
            "::1,192.0.2.7/24",
            "'192.0.2.7/24' is an address within a network: say 192.0.2.0/24 for all of that, or leave out the /",
        ),
        ("reorder", "nan", "'nan' is not a number"),
        ("gc", "60000", "'60000' is not INTERVAL/AGE in milliseconds, such as 60000/3600000"),
        ("gc", "1/2/3", "'1/2/3' is not INTERVAL/AGE in milliseconds, such as 60000/3600000"),
        ("gc", "1/-2", "'1/-2' is not INTERVAL/AGE in milliseconds, such as 60000/3600000"),
        ("gc", "1/31622400001", "31622400001 is not between 0 and 31622400000 milliseconds"),
        ("gc", "2/1", "2/1: AGE is less than INTERVAL, so senders would be forgotten later than AGE says"),
    ],
)
def test_bad_option(name: str, text: str, reason: str) -> None:
    """The error about a value on the command line names the option, and has its unit."""
    assert option_error(**{name: text}) == f"--{name.replace('_', '-')}: {reason}"


@given(st.sampled_from(sorted(OPTIONS)), st.text())
def test_any_text(name: str, text: str) -> None:
    """Any text for any option is accepted, or is an error that names the option."""
    with suppress(ConfigError):
        configure({name: text})
        return
    assert option_error(**{name: text}).startswith(f"--{name}: ")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("port = 70000", "1: port: 70000 is not between 0 and 65535"),
        ('\n# x\nport = "1514"', "3: port: '1514' is not a whole number"),
        ("port = true", "1: port: True is not a whole number"),
        ("gc = 60000", "1: gc: 60000 is not INTERVAL/AGE in milliseconds, such as 60000/3600000"),
        ("reorder = inf", "1: reorder: inf is not a number"),
        ("allow = 1", "1: allow: 1 is not a list of networks, each a text such as 192.0.2.0/24"),
        ("allow = [1]", "1: allow: (1,) is not a list of networks, each a text such as 192.0.2.0/24"),
        (
            "allow = []",
            "1: allow: the list is empty: name the networks that may send, or omit it to accept all senders",
        ),
        ("address = 1", "1: address: 1 is not an IPv4 or IPv6 address"),
        (
            "workers = 1\nprot = 1514",
            '2: unknown key "prot"; did you mean "port"?',
        ),
        ("modules = 'a'", f"1: modules: {NO_LIST}"),
        (
            "[modules.printer]",
            '1: modules: is a list, such as ["printer", "./modules"]; settings of a module are in [module.printer]',
        ),
        ("modules = [1]", f"1: modules: {NO_LIST}"),
        ('modules = [""]', "1: modules: '' is neither a path nor the name of a module"),
        ("module = 1", "1: module: is not a table; settings of a module are in [module.NAME]"),
        ("\n[module]\nprinter = 1", "3: module.printer: is not a table of settings"),
        ("port = 1\nport = 2", "2: port: is given twice, also in line 1; remove one of them"),
        ("[module.a]\nb = 1\n[module.a]\n", "3: module.a: is given twice, also in line 1; remove one of them"),
        (
            "modules = []\n[modules.a]\nb = 1\n",
            "2: modules.a: contradicts line 1; settings of a module are in [module.a]",
        ),
        (
            "stop-timeout = 1\nstop_timeout = 1\n",
            "2: stop_timeout: is the same as stop-timeout in line 1; remove one of them",
        ),
        ("[module.a]\nb-c = 1\nb_c = 1\n", "3: [module.a] b_c: is given twice, with - and with _; remove one of them"),
        ("[printer]\ncolor = 1\n", "1: [printer]: settings of a module are in [module.printer]"),
        ("port = \n", "1: Invalid value (column 8); text stands in quotes"),
        ("port = 1\ngc = ", "2: Invalid value; text stands in quotes"),
        ("a = " + "9" * 5000, None),
        ("a = " + "[" * 10000, None),
    ],
)
def test_bad_file(cwd: Path, text: str, error: str | None) -> None:
    """An error in a key, a value or the syntax names the file as the user did, and the line."""
    message = file_error(cwd, text)
    if error is None:
        assert message.startswith("etc/n.toml")
    else:
        assert message == f"etc/n.toml:{error}"


def test_file_is_checked_in_full(cwd: Path) -> None:
    """A wrong value in the file is an error even if the command line overrides it."""
    with pytest.raises(ConfigError, match=r"^etc/n.toml:1: port: 70000 "):
        read(cwd, "port = 70000", port="1514")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("[module.a]\nb = 1", "2"),
        ("[module.'a'] # comment\n\n  b = 1", "3"),
        ("module.a.b = 1", "1"),
        ("[module]\na.b = 1", "2"),
        ("[module]\na = {b = 1}", "2"),
        ("module = {a = {b = 1}}", "1"),
        ("[module.z]\nb = 1\n[module.a]\n'b' = 1", "4"),
        ("modules = [\n'x=y',\n]\n[module.a]\nx = '''\nb = 2\n'''\nq = 1\nb = 1", "6"),
    ],
)
def test_lines(cwd: Path, text: str, place: str) -> None:
    """The line of a setting is found for every notation; only a text that contains the key misleads the search."""
    origin = read(cwd, text).module_settings["a"]["b"].origin
    assert origin == f"etc/n.toml:{place}: [module.a] b"


def test_unreadable_file(cwd: Path) -> None:
    """A file that is missing, is a directory, has a null byte in its name or is not UTF-8 is one error."""
    for config, text in (
        ("gone.toml", "--config: gone.toml: No such file or directory"),
        ("etc", "--config: etc: Is a directory"),
        ("a\0b", "--config: 'a\\x00b': embedded null byte"),
        ("latin.toml", "latin.toml:2: is not UTF-8"),
    ):
        (cwd / "latin.toml").write_bytes(b"port = 1\n# \xe9")
        with pytest.raises(ConfigError) as caught:
            configure({}, config=config, cwd=cwd)
        assert str(caught.value) == text


def test_byte_order_mark(cwd: Path) -> None:
    """A byte order mark at the beginning of the file is ignored."""
    (cwd / "n.toml").write_bytes(b"\xef\xbb\xbfport = 1\n")
    assert configure({}, config="n.toml", cwd=cwd).settings.port == 1


def test_both_spellings(cwd: Path) -> None:
    """Keys of options and of modules' settings may have hyphens or underscores."""
    configuration = read(cwd, "stop_timeout = 1000\nmax-sources = 5\n[module.x]\na-b = 1\n", sets=("y.c-d=1",))
    assert (configuration.settings.stop_timeout, configuration.settings.max_sources) == (1.0, 5)
    assert configuration.set_options["stop-timeout"].origin == "etc/n.toml:1"
    assert list(configuration.module_settings["x"]) == ["a_b"]
    assert list(configuration.module_settings["y"]) == ["c_d"]


def test_an_option_below_a_table(cwd: Path) -> None:
    """A daemon's key below the table of a module has a hint; the module may have a setting of that name."""
    settings = read(cwd, "[module.x]\nport = 1\nmodules = []\nother = 1\n").module_settings["x"]
    assert [settings[key].hint for key in settings] == [
        '; the daemon has "port": move it above the first [table] of the file',
        '; the daemon has "modules": move it above the first [table] of the file',
        "",
    ]
