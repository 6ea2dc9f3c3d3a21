"""Who may use the console: passwords, tokens, sessions, tries, and the names of the console."""

from __future__ import annotations

from pathlib import Path

import pytest

from netconsd.console import limits
from netconsd.console.access import Access, Tries, hash_password, read_passwords, read_tokens
from netconsd.console.service import configured, link, listen_address
from tests.console.secrets_of_tests import LINE, Clock, put


def made(tmp_path: Path, clock: Clock | None = None, text: str = LINE) -> Access:
    """Return an access with a password."""
    return Access(put(tmp_path / "passwords", f"# of ann\n{text}\n"), None, ["logs.example"], clock or Clock())


def test_a_hash_is_of_one_password(tmp_path: Path) -> None:
    """A hash is scrypt's, with a salt of its own, and matches its password only."""
    assert LINE.startswith("$scrypt$ln=15,r=8,p=1$")
    assert hash_password("correct horse") != LINE
    (password,) = read_passwords(put(tmp_path / "passwords", LINE))
    assert password.matches("correct horse")
    assert not password.matches("correct horse ")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no password"),
        ("secret", "is no hash"),
        (LINE.replace("ln=15", "ln=30"), "ln is from 14 to 17"),
        (LINE.replace("ln=15", "ln=01"), "ln is from 14 to 17"),
        (LINE.replace("r=8", "r=99"), "r is 8"),
        (f"ann:{LINE}\nann:{LINE}", "the same name"),
    ],
)
def test_wrong_password_files(tmp_path: Path, text: str, said: str) -> None:
    """A password file with another line is refused, and named; a hash cannot ask for any amount of memory."""
    with pytest.raises(ValueError, match=said) as error:
        read_passwords(put(tmp_path / "passwords", text))
    assert str(tmp_path) in str(error.value)


def test_files_that_everybody_reads(tmp_path: Path) -> None:
    """A file of secrets that every user can read is refused, and so are a directory and a file that does not exist."""
    with pytest.raises(ValueError, match="chmod"):
        read_passwords(put(tmp_path / "passwords", LINE, 0o644))
    with pytest.raises(ValueError, match="cannot read"):
        read_tokens(tmp_path / "none")
    with pytest.raises(ValueError, match=r"not a file|Is a directory"):
        read_tokens(tmp_path)


def test_tokens(tmp_path: Path) -> None:
    """A token of the file is accepted, and no other; a short one is refused at the start."""
    own = Access(None, put(tmp_path / "tokens", "0123456789abcdef0123\n"), [], Clock())
    assert own.required
    assert own.has_token("0123456789abcdef0123")
    assert not own.has_token("0123456789abcdef0124")
    assert not own.has_token("")
    with pytest.raises(ValueError, match="no token"):
        read_tokens(put(tmp_path / "tokens", "short\n"))


def test_sessions(tmp_path: Path) -> None:
    """A session is found by its cookie until it is ended, or was not used for a week."""
    clock = Clock()
    own = made(tmp_path, clock)
    value, session = own.new_session("ann")
    assert own.session(value) is session
    assert own.session(value + "x") is None
    clock.now += limits.SESSION_SECONDS - 1
    assert own.session(value) is session
    clock.now += limits.SESSION_SECONDS + 1
    assert own.session(value) is None
    value, _ = own.new_session("ann")
    own.end(value)
    assert own.session(value) is None


def test_the_bound_of_sessions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound, the session that was not used for longest ends."""
    monkeypatch.setattr(limits, "SESSIONS", 2)
    own = made(tmp_path)
    first, second = own.new_session("")[0], own.new_session("")[0]
    own.session(first)
    third = own.new_session("")[0]
    assert [own.session(value) is not None for value in (first, second, third)] == [True, False, True]


def test_a_new_password_ends_sessions(tmp_path: Path) -> None:
    """Reading the file again ends the sessions if it changed; a wrong file leaves everything as it was."""
    own = made(tmp_path)
    value, _ = own.new_session("")
    own.reload()
    assert own.session(value) is not None
    put(tmp_path / "passwords", "wrong")
    with pytest.raises(ValueError, match="password_file"):
        own.reload()
    assert own.session(value) is not None
    put(tmp_path / "passwords", hash_password("other"))
    own.reload()
    assert own.session(value) is None


def test_names(tmp_path: Path) -> None:
    """With names, each has a password; without, one password is everybody's."""
    own = made(tmp_path, text=f"ann:{LINE}\nbob:{LINE}")
    assert own.has_names
    found = own.password_of("bob")
    assert found is not None
    assert found.user == "bob"
    assert own.password_of("eve") is None
    assert own.password_of("") is None
    assert made(tmp_path).password_of("anybody") is not None


def test_tries_have_a_bound() -> None:
    """Wrong passwords of an address are bounded in a minute, and those of all addresses; right ones are forgotten."""
    clock = Clock()
    tries = Tries(clock)
    for _ in range(limits.TRIES):
        assert tries.wait("192.0.2.1") == 0
        tries.begin("192.0.2.1")
        clock.now += 1
    assert tries.wait("192.0.2.1") == limits.TRY_SECONDS - limits.TRIES
    assert tries.wait("192.0.2.2") == 0
    clock.now += limits.TRY_SECONDS - limits.TRIES
    assert tries.wait("192.0.2.1") == 0
    clock.now += limits.TRY_SECONDS
    for number in range(limits.ALL_TRIES):
        tries.begin(f"192.0.2.{number}")
    assert tries.wait("192.0.2.200") > 0
    tries.right("192.0.2.7")
    assert tries.wait("192.0.2.200") == 0


def test_a_stranger_keeps_nobody_out() -> None:
    """When strangers have used up the tries of all, an address that had the password before has its own."""
    tries = Tries(Clock())
    tries.begin("192.0.2.7")
    tries.right("192.0.2.7")
    for number in range(limits.ALL_TRIES):
        tries.begin(f"2001:db8::{number}")
    assert tries.wait("192.0.2.8") > 0
    for _ in range(limits.TRIES):
        assert tries.wait("192.0.2.7") == 0
        tries.begin("192.0.2.7")
    assert tries.wait("192.0.2.7") > 0
    for number in range(2 * limits.TRIED_ADDRESSES):
        tries.right(f"2001:db8::1:{number:x}")
    assert len(tries._known) == limits.TRIED_ADDRESSES


def test_tried_addresses_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stranger with many addresses does not make the table grow."""
    monkeypatch.setattr(limits, "TRIED_ADDRESSES", 3)
    tries = Tries(Clock())
    for number in range(10):
        tries.begin(f"2001:db8::{number}")
    assert len(tries._of) == 3
    assert len(tries._all) == 10


@pytest.mark.parametrize(
    ("header", "allowed"),
    [
        ("127.0.0.1:8514", True),
        ("localhost:9000", True),
        ("LOCALHOST.", True),
        ("[::1]:8514", True),
        ("192.0.2.7", True),
        ("logs.example:8514", True),
        ("evil.example:8514", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("", False),
        ("localhost@evil.example", False),
        ("[::1", False),
        ("localhost:8514:1", False),
        ("localhost:x", False),
        ("localhost:123456", False),
        ("127.0.0.1.", True),
        ("0x7f.1", False),
        ("::1", False),
    ],
)
def test_host_names(tmp_path: Path, header: str, allowed: bool) -> None:
    """Only addresses, localhost and configured names are the console: another name may have been rebound to it."""
    assert made(tmp_path).allows_host(header) is allowed


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8514", ("127.0.0.1", 8514)),
        ("[::1]:1", ("::1", 1)),
        ("8514", ("127.0.0.1", 8514)),
        ("localhost:5", ("127.0.0.1", 5)),
        ("0.0.0.0:0", ("0.0.0.0", 0)),
    ],
)
def test_listen_addresses(text: str, address: tuple[str, int]) -> None:
    """An address has these forms."""
    assert listen_address(text) == address


@pytest.mark.parametrize("text", ["", "logs.example:8514", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:70000", "::1:-1"])
def test_wrong_listen_addresses(text: str) -> None:
    """Another text is refused, and the setting named."""
    with pytest.raises(ValueError, match=r"^listen: "):
        configured(text, Path("/"))


@pytest.mark.parametrize("listen", ["0.0.0.0:8514", "[::]:8514", "192.0.2.7:8514"])
def test_beyond_loopback_a_password_is_needed(listen: str) -> None:
    """The console refuses an address that others can reach without a password or token, and says what to set."""
    with pytest.raises(ValueError, match="password_file"):
        configured(listen, Path("/"))
    assert not configured(listen, Path("/"), password_file=Path("/p")).is_local
    assert not configured(listen, Path("/"), token_file=Path("/p")).is_local
    assert configured("127.0.0.2:1", Path("/")).is_local


def test_names_of_the_console() -> None:
    """A name of the setting hosts is a name."""
    with pytest.raises(ValueError, match=r"^hosts: "):
        configured("8514", Path("/"), hosts=["http://x/"])


def test_links() -> None:
    """The URL is a link on terminals that know links, and plain text elsewhere."""
    url = "http://127.0.0.1:8514/"
    assert link(url, {"VTE_VERSION": "7600"}, True) == f"\x1b]8;;{url}\x1b\\{url}\x1b]8;;\x1b\\"
    assert link(url, {"VTE_VERSION": "7600"}, False) == url
    assert link(url, {"TERM": "linux"}, True) == url
