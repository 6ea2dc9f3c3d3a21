"""Who may use the console: passwords, tokens, sessions, and the names that a browser may use for it.

Rules:

1. A password is kept as its hash by scrypt (RFC 7914): a line ``$scrypt$ln=15,r=8,p=1$SALT$HASH`` of the password file,
   with ``NAME:`` before it if several people have one. A try costs 32 MB and some 60 ms, in a thread, one at a time.
2. Wrong tries are bounded by address and in all; beyond, no password is looked at. The bound in all is not for
   addresses that have had the password: a stranger who uses up the tries keeps nobody out who was there before.
3. A session is a random cookie. A request that changes something needs the session's token in ``X-CSRF-Token``, which
   a page of another site cannot read. A script's bearer token needs none: no browser sends it by itself.
4. ``Host`` must be an address, ``localhost``, or a name from the settings: a name of a stranger that was made to point
   to this machine (DNS rebinding) is none of these.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
import secrets
import stat
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from netconsd.console import limits

_LOG_N: Final = 15
_R: Final = 8
_P: Final = 1
#: Of OWASP's cheat sheet for password storage: at least these; at most what a try may cost.
_LOG_N_RANGE: Final = range(14, 18)
_LINE: Final = re.compile(
    r"(?:([A-Za-z0-9_.@-]{1,64}):)?\$scrypt\$ln=(\d{1,2}),r=(\d{1,2}),p=(\d{1,2})\$([A-Za-z0-9+/]{8,88})\$([A-Za-z0-9+/]{16,88})"
)
#: A token of 32 hexadecimal digits has 128 bits.
_TOKEN_CHARACTERS: Final = 20
_FILE_BYTES: Final = 64 << 10
#: Bytes of a password that is tried.
PASSWORD_BYTES: Final = 1024


@dataclass(frozen=True, slots=True)
class Password:
    """A hash of a password."""

    user: str
    log_n: int
    r: int
    p: int
    salt: bytes
    hash: bytes

    def matches(self, password: str) -> bool:
        """Return whether this is the password: slow, and without the lock of the interpreter."""
        made = _scrypt(password, self.salt, self.log_n, self.r, self.p, len(self.hash))
        return hmac.compare_digest(made, self.hash)


def _scrypt(password: str, salt: bytes, log_n: int, r: int, p: int, size: int) -> bytes:
    memory = 128 * (1 << log_n) * r + (1 << 20)
    return hashlib.scrypt(
        password.encode(errors="replace"), salt=salt, n=1 << log_n, r=r, p=p, maxmem=memory, dklen=size
    )


def hash_password(password: str, salt: bytes | None = None) -> str:
    """Return the line for a password file.

    :param salt: 16 random bytes by default.
    """
    salt = secrets.token_bytes(16) if salt is None else salt
    made = _scrypt(password, salt, _LOG_N, _R, _P, 32)
    salted, hashed = (base64.b64encode(data).decode().rstrip("=") for data in (salt, made))
    return f"$scrypt$ln={_LOG_N},r={_R},p={_P}${salted}${hashed}"


def _decoded(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4))


def read_passwords(path: Path) -> list[Password]:
    """Read a password file: lines made by ``netconsd console --hash-password``; ``#`` begins a comment.

    :raises ValueError: if a line is none, or there is none; the text names the file.
    """
    found = []
    for number, line in _lines(path):
        match = _LINE.fullmatch(line)
        if match is None:
            raise ValueError(f"{path}:{number}: is no hash of a password; netconsd console --hash-password makes one")
        user, log_n, r, p, salt, hashed = match.groups()
        if int(log_n) not in _LOG_N_RANGE or int(r) != _R or not 1 <= int(p) <= 4:
            raise ValueError(f"{path}:{number}: ln is from 14 to 17, r is 8, p from 1 to 4")
        found.append(Password(user or "", int(log_n), int(r), int(p), _decoded(salt), _decoded(hashed)))
    if not found:
        raise ValueError(f"{path}: has no password; make its line with netconsd console --hash-password")
    if len({password.user for password in found}) != len(found):
        raise ValueError(f"{path}: several lines have the same name")
    return found


def read_tokens(path: Path) -> list[bytes]:
    """Read a file of tokens, one a line: return their SHA-256.

    :raises ValueError: if one is short, or there is none; the text names the file.
    """
    found = []
    for number, line in _lines(path):
        if len(line) < _TOKEN_CHARACTERS or not line.isascii() or " " in line:
            raise ValueError(
                f"{path}:{number}: is no token of {_TOKEN_CHARACTERS} characters; openssl rand -hex 32 makes one"
            )
        found.append(hashlib.sha256(line.encode()).digest())
    if not found:
        raise ValueError(f"{path}: has no token; make one with openssl rand -hex 32")
    return found


def _lines(path: Path) -> Iterable[tuple[int, str]]:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(fd, "rb") as file:
            mode = os.fstat(fd).st_mode
            if not stat.S_ISREG(mode):
                raise ValueError(f"{path}: is not a file")
            if mode & stat.S_IROTH:
                raise ValueError(f"{path}: everybody can read it; chmod 640 it")
            text = file.read(_FILE_BYTES).decode()
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path}: is not UTF-8") from None
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            yield number, line.strip()


@dataclass(slots=True)
class Session:
    """A browser that has the password, or any browser if there is none."""

    user: str
    csrf: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    used: float = 0.0
    #: End its live tails.
    tails: set[Callable[[], object]] = field(default_factory=set)


class Tries:
    """Bounds wrong passwords. For the reactor's thread."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """:param clock: monotonic seconds."""
        self._clock = clock
        self._all: deque[float] = deque()
        self._of: OrderedDict[str, deque[float]] = OrderedDict()
        self._known: OrderedDict[str, None] = OrderedDict()

    def wait(self, address: str) -> float:
        """Return the seconds until an address may try again; 0 if it may now."""
        now = self._clock()
        most = 0.0
        for tries, limit in ((self._all, limits.ALL_TRIES), (self._of.get(address, deque()), limits.TRIES)):
            while tries and now - tries[0] >= limits.TRY_SECONDS:
                tries.popleft()
            if len(tries) >= limit and (tries is not self._all or address not in self._known):
                most = max(most, limits.TRY_SECONDS - (now - tries[0]))
        return most

    def begin(self, address: str) -> None:
        """Count a try, before its result is known: many at once are many."""
        now = self._clock()
        self._all.append(now)
        tries = self._of.pop(address, deque(maxlen=limits.TRIES))
        tries.append(now)
        if len(self._of) >= limits.TRIED_ADDRESSES:
            self._of.popitem(last=False)
        self._of[address] = tries

    def right(self, address: str) -> None:
        """Forget the tries of an address that had the password, and remember the address."""
        self._known[address] = None
        self._known.move_to_end(address)
        if len(self._known) > limits.TRIED_ADDRESSES:
            self._known.popitem(last=False)
        tries = self._of.pop(address, deque())
        for at in tries:
            if at in self._all:
                self._all.remove(at)


class Access:
    """Passwords, tokens and sessions. For the reactor's thread."""

    def __init__(
        self,
        password_file: Path | None,
        token_file: Path | None,
        hosts: Iterable[str],
        clock: Callable[[], float],
    ) -> None:
        """
        :param hosts: further names for ``Host``.
        :param clock: monotonic seconds.
        :raises ValueError: if a file is wrong; the text begins with the name of the setting.
        """
        self._password_file = password_file
        self._token_file = token_file
        self._clock = clock
        self._hosts = {host.lower().rstrip(".") for host in hosts} | {"localhost"}
        self._sessions: OrderedDict[bytes, Session] = OrderedDict()
        self.open_session = Session("")
        self.tries = Tries(clock)
        self.passwords: list[Password] = []
        self._tokens: list[bytes] = []
        self.reload()

    def reload(self) -> None:
        """Read the files again; sessions of people who are gone end.

        :raises ValueError: as the constructor; then nothing changes.
        """
        passwords, tokens = [], []
        if self._password_file is not None:
            try:
                passwords = read_passwords(self._password_file)
            except ValueError as error:
                raise ValueError(f"password_file: {error}") from None
        if self._token_file is not None:
            try:
                tokens = read_tokens(self._token_file)
            except ValueError as error:
                raise ValueError(f"token_file: {error}") from None
        if passwords != self.passwords:
            self._sessions.clear()
        self.passwords, self._tokens = passwords, tokens

    @property
    def required(self) -> bool:
        """True if a password or a token is needed."""
        return self._password_file is not None or self._token_file is not None

    @property
    def has_names(self) -> bool:
        """True if a login needs a name."""
        return any(password.user for password in self.passwords)

    def allows_host(self, header: str) -> bool:
        """Return whether a browser that names this host means the console."""
        match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([^:\[\]]*))(?::\d{1,5})?", header)
        if match is None:
            return False
        name = (match[1] or match[2]).lower().rstrip(".")
        try:
            ip_address(name)
        except ValueError:
            return name in self._hosts
        # A page whose address is an address was served from there, so that nothing was rebound.
        return True

    def password_of(self, user: str) -> Password | None:
        """Return the password of a name; without names, that of all."""
        for password in self.passwords:
            if password.user == user or not self.has_names:
                return password
        return None

    def new_session(self, user: str) -> tuple[str, Session]:
        """Return the value of the cookie, and the session."""
        value = secrets.token_urlsafe(32)
        session = Session(user, used=self._clock())
        while len(self._sessions) >= limits.SESSIONS:
            self._sessions.popitem(last=False)
        self._sessions[_key(value)] = session
        return value, session

    def session(self, cookie: str) -> Session | None:
        """Return the session of a cookie."""
        key = _key(cookie)
        session = self._sessions.get(key)
        if session is None:
            return None
        now = self._clock()
        if now - session.used > limits.SESSION_SECONDS:
            del self._sessions[key]
            return None
        session.used = now
        self._sessions.move_to_end(key)
        return session

    def end(self, cookie: str) -> None:
        """End the session of a cookie, and its live tails."""
        session = self._sessions.pop(_key(cookie), None)
        for end in () if session is None else list(session.tails):
            end()

    def has_token(self, token: str) -> bool:
        """Return whether a script's token is one of the file."""
        made = _key(token)
        return any(hmac.compare_digest(made, known) for known in self._tokens)


def _key(value: str) -> bytes:
    # A table of hashes: how long a look-up takes says nothing about a value.
    return hashlib.sha256(value.encode(errors="replace")).digest()
