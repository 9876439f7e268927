"""A store's URL: where Redis is, and as whom we speak to it.

    redis://[[USER]:PASSWORD@]HOST[:PORT][/DB]            rediss:// the same over TLS
    unix://[[USER]:PASSWORD@]/PATH
    redis+sentinel://[[USER]:PASSWORD@]HOST[:PORT],…/SERVICE[/DB]         rediss+sentinel://
    redis+cluster://[[USER]:PASSWORD@]HOST[:PORT],…                       rediss+cluster://

What is special in a URL is percent-encoded. Options follow a question mark; `OPTIONS` has them all. No message repeats
a part of a URL that may belong to a password.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from memsvc.errors import InvalidArgumentError

PREFIX = "memsvc"
"""At the front of every key, unless the URL says otherwise."""

REDIS_PORT, SENTINEL_PORT = 6379, 26379

OPTIONS = (
    "ca_certs",
    "certfile",
    "db",
    "keyfile",
    "password_file",
    "prefix",
    "sentinel_password",
    "sentinel_password_file",
    "sentinel_username",
    "username",
)
"""Files are paths; a password's file holds it and nothing else. `username` goes with `password_file`."""

_TLS_OPTIONS = ("ca_certs", "certfile", "keyfile")
_SENTINEL_OPTIONS = ("sentinel_password", "sentinel_password_file", "sentinel_username")
_PREFIX = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)  # no braces: those of the shard decide the hash slot
_HOST = re.compile(r"\[[0-9A-Fa-f:.%]+\]|[^:\[\]\s]+")
_ENCODE = "percent-encode what is special in a password, or give it as a file: ?password_file=PATH"


class Kind(StrEnum):
    """How Redis is deployed."""

    SINGLE = "redis"
    UNIX = "unix"
    SENTINEL = "redis+sentinel"
    CLUSTER = "redis+cluster"


_SCHEMES = {
    "redis": (Kind.SINGLE, False),
    "rediss": (Kind.SINGLE, True),
    "unix": (Kind.UNIX, False),
    "redis+sentinel": (Kind.SENTINEL, False),
    "rediss+sentinel": (Kind.SENTINEL, True),
    "redis+cluster": (Kind.CLUSTER, False),
    "rediss+cluster": (Kind.CLUSTER, True),
}


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Address:
    """Where Redis is, and as whom we speak to it. Neither repr nor str shows a password."""

    kind: Kind = Kind.SINGLE
    tls: bool = False
    hosts: tuple[tuple[str, int], ...] = ()
    """Of Redis; of the sentinels; or of some of a cluster's nodes."""
    path: str = ""
    """Of a Unix socket."""
    service: str = ""
    """What the sentinels call it."""
    db: int = 0
    username: str = ""
    password: str = field(default="", repr=False)
    sentinel_username: str = ""
    sentinel_password: str = field(default="", repr=False)
    ca_certs: str = ""
    """File of the authorities that Redis's certificate may be of; empty for the system's."""
    certfile: str = ""
    """Our own certificate, where Redis asks for one."""
    keyfile: str = ""
    prefix: str = PREFIX

    def __str__(self) -> str:
        """Return the URL, with asterisks for secrets."""
        scheme = self.kind.value.replace("redis", "rediss", 1) if self.tls else self.kind.value
        user = quote(self.username, safe="") + (":***" if self.password else "")
        hosts = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.hosts)
        path = self.path or "".join(f"/{part}" for part in (quote(self.service, safe=""), self.db or "") if part)
        options = {
            "sentinel_username": self.sentinel_username,
            "sentinel_password": "***" if self.sentinel_password else "",
            "ca_certs": self.ca_certs,
            "certfile": self.certfile,
            "keyfile": self.keyfile,
            "prefix": "" if self.prefix == PREFIX else self.prefix,
            "db": str(self.db) if self.path and self.db else "",
        }
        query = "&".join(f"{name}={value}" for name, value in options.items() if value)
        return f"{scheme}://{user}{'@' if user else ''}{hosts}{path}{'?' if query else ''}{query}"

    def __repr__(self) -> str:
        return f"Address({str(self)!r})"


def is_url(store: str) -> bool:
    """Whether a store is named by a URL, not by a directory."""
    return "://" in store


def parse(url: str) -> Address:
    """Read a store's URL, and the files of passwords that it names.

    Raises:
        InvalidArgumentError: it is none; the field is `store`, and the message names the part.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        raise _wrong(f"it is not a URL; {_ENCODE}") from None
    if parts.scheme not in _SCHEMES:
        raise _wrong(f"its scheme must be one of {', '.join(f'{name}://' for name in _SCHEMES)}")
    userinfo, at, where = parts.netloc.rpartition("@")
    if parts.fragment or "#" in url or "@" in parts.path or (not at and "@" in parts.query):
        raise _wrong(f"there is an @ or a # where none can be; {_ENCODE}")
    kind, tls = _SCHEMES[parts.scheme]
    options = _options(parts.query, kind, tls=tls)
    username, _, password = (unquote(part) for part in userinfo.partition(":"))
    database = options.get("db", "")
    service, path = "", ""
    hosts: tuple[tuple[str, int], ...] = ()
    if kind is Kind.UNIX:
        path = _socket(where, unquote(parts.path))
    else:
        hosts = _hosts(where, kind)
        service, in_path = _path(parts.path, kind)
        if in_path and database:
            raise _wrong("the number of the database is there twice")
        database = in_path or database
    username = username or options.get("username", "")
    password = _secret(password, options, "password")
    if username and not password:  # which may be the password, in the wrong place
        raise _wrong(
            "it names a user but no password; a password alone is written with a colon: redis://:PASSWORD@HOST"
        )
    return Address(
        kind=kind,
        tls=tls,
        hosts=hosts,
        path=path,
        service=service,
        db=_database(database, kind),
        username=username,
        password=password,
        sentinel_username=options.get("sentinel_username", ""),
        sentinel_password=_secret(options.get("sentinel_password", ""), options, "sentinel_password"),
        ca_certs=_file(options, "ca_certs"),
        certfile=_file(options, "certfile"),
        keyfile=_file(options, "keyfile"),
        prefix=_prefix(options.get("prefix", PREFIX)),
    )


def _wrong(message: str) -> InvalidArgumentError:
    return InvalidArgumentError("store", message)


def _options(query: str, kind: Kind, *, tls: bool) -> dict[str, str]:
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError:
        raise _wrong(f"its options must read NAME=VALUE&NAME=VALUE; {_ENCODE}") from None
    options: dict[str, str] = {}
    for name, value in pairs:
        if name not in OPTIONS:  # which is not repeated: a question mark in a password makes an option of its end
            raise _wrong(f"it has an unknown option; there are {', '.join(OPTIONS)}")
        if name in options:
            raise _wrong(f"{name} is there twice")
        if not value:
            raise _wrong(f"{name} is empty")
        if name in _TLS_OPTIONS and not tls:
            raise _wrong(f"{name} needs TLS: a scheme that begins with rediss")
        if name in _SENTINEL_OPTIONS and kind is not Kind.SENTINEL:
            raise _wrong(f"{name} is for redis+sentinel:// and rediss+sentinel:// alone")
        options[name] = value
    if "keyfile" in options and "certfile" not in options:
        raise _wrong("keyfile needs certfile")
    return options


def _hosts(where: str, kind: Kind) -> tuple[tuple[str, int], ...]:
    default = SENTINEL_PORT if kind is Kind.SENTINEL else REDIS_PORT
    hosts = tuple(_host(part, default) for part in where.split(","))
    if kind is Kind.SINGLE and len(hosts) > 1:
        raise _wrong("several hosts are for redis+sentinel:// or redis+cluster://")
    return hosts


def _host(part: str, default: int) -> tuple[str, int]:
    found = _HOST.match(part)
    if found is None:
        raise _wrong("a host is missing, or is none: HOST:PORT")
    host, rest = found[0].strip("[]"), part[found.end() :]
    if not rest:
        return host, default
    port = rest[1:]
    if rest[0] != ":" or not (port.isascii() and port.isdigit() and 0 < int(port) < 1 << 16):
        raise _wrong(f"a host's port must be a number from 1 to 65535; {_ENCODE}")
    return host, int(port)


def _path(path: str, kind: Kind) -> tuple[str, str]:
    """Return the name of a service, and the number of a database as it is written."""
    parts = [unquote(part) for part in path.strip("/").split("/")] if path.strip("/") else []
    service = ""
    if kind is Kind.SENTINEL:
        if not parts:
            raise _wrong("it must name the service that the sentinels watch: …/SERVICE")
        service = parts.pop(0)
    if len(parts) > 1:
        raise _wrong(f"its path has too many parts; {_ENCODE}")
    return service, parts[0] if parts else ""


def _socket(where: str, path: str) -> str:
    if where or not path.strip("/"):
        raise _wrong("a Unix socket's path must be absolute: unix:///PATH")
    return path


def _database(text: str, kind: Kind) -> int:
    if not (text or "0").isdecimal() or not text.isascii() or len(text) > 9:
        raise _wrong(f"the database must be a number; {_ENCODE}")
    if int(text or 0) and kind is Kind.CLUSTER:
        raise _wrong("a cluster has database 0 alone")
    return int(text or 0)


def _prefix(text: str) -> str:
    if _PREFIX.fullmatch(text) is None:
        raise _wrong("prefix must be 1 to 64 letters, digits, dots, dashes or underscores")
    return text


def _file(options: Mapping[str, str], name: str) -> str:
    path = options.get(name, "")
    if path and not Path(path).is_file():
        raise _wrong(f"{name}: there is no file {path}")
    return path


def _secret(given: str, options: Mapping[str, str], name: str) -> str:
    path = options.get(f"{name}_file", "")
    if not path:
        return given
    if given:
        raise _wrong(f"{name} is there twice: as it is, and as {name}_file")
    try:
        found = Path(path).read_text("utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise _wrong(f"{name}_file: {path} cannot be read: {why}") from None
    if not found:
        raise _wrong(f"{name}_file: {path} is empty")
    return found
