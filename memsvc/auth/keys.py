"""API keys: what is handed out, and what is kept of it.

A key is `msk_ID_SECRET`: 16 hexadecimal digits that name it, and 64 that are 256 random bits. Of these a SHA-256 is
kept. A slow hash would add nothing: it makes guessing a password dear, and 2²⁵⁶ secrets cannot be guessed; but every
call would pay for it.
"""

import hashlib
import re
import secrets
from dataclasses import dataclass, field

import msgpack

from memsvc.auth.grants import Grant, rights
from memsvc.errors import DataLossError, MemsvcError

FORMAT = 1
MARK = "msk"
"""Tells a key from other credentials, and a scanner of repositories that it found one."""
_ID = "[0-9a-f]{16}"
_KEY = re.compile(rf"{MARK}_({_ID})_[0-9a-f]{{64}}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Secret:
    """What is kept of a secret."""

    digest: bytes = field(repr=False)
    """Of the whole key, SHA-256."""
    until_us: int | None = None
    """Microseconds since the epoch at which it ends, after a newer one took its place; None for the newest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """An API key without its secret."""

    id: str
    name: str
    """What its maker calls it."""
    grants: tuple[Grant, ...]
    created_us: int
    expires_us: int | None = None
    revoked_us: int | None = None
    rotated_us: int | None = None
    secrets: tuple[Secret, ...]
    """The newest first."""

    def ended_us(self, now_us: int) -> int | None:
        """Return since when the key is of no use, None while it is."""
        ends = [at for at in (self.expires_us, self.revoked_us) if at is not None and at <= now_us]
        return min(ends, default=None)

    def encode(self) -> bytes:
        """Return what a store keeps."""
        grants = [[grant.tenant, sorted(grant.rights)] for grant in self.grants]
        kept = [[secret.digest, secret.until_us] for secret in self.secrets]
        times = [self.created_us, self.expires_us, self.revoked_us, self.rotated_us]
        packed: bytes = msgpack.packb([self.name, grants, *times, kept])
        return bytes([FORMAT]) + packed

    @classmethod
    def decode(cls, id: str, data: bytes) -> "ApiKey":
        """Read what a store kept.

        Raises:
            DataLossError: it is damaged, or of a newer format.
        """
        if data[:1] != bytes([FORMAT]):
            raise DataLossError(f"the key {id} has format {data[:1].hex() or 'nothing'}; this version reads {FORMAT}")
        try:
            name, grants, created, expires, revoked, rotated, kept = msgpack.unpackb(data[1:])
            return cls(
                id=id,
                name=name,
                grants=tuple(Grant(tenant, rights("rights", values)) for tenant, values in grants),
                created_us=created,
                expires_us=expires,
                revoked_us=revoked,
                rotated_us=rotated,
                secrets=tuple(Secret(digest, until) for digest, until in kept),
            )
        except (ValueError, TypeError, msgpack.UnpackException, MemsvcError) as error:
            raise DataLossError(f"the key {id} is damaged") from error


def new_id() -> str:
    """Return the id of a new key."""
    return secrets.token_hex(8)


def new_secret(id: str) -> str:
    """Return a whole new key under an id: whoever has it, is it."""
    return f"{MARK}_{id}_{secrets.token_hex(32)}"


def digest(token: str) -> bytes:
    """Return what is kept of a key."""
    return hashlib.sha256(token.encode()).digest()


def id_of(token: str) -> str | None:
    """Return the id in a key; None for what does not look like one."""
    found = _KEY.fullmatch(token)
    return found[1] if found else None


def is_id(value: str) -> bool:
    """Whether a value may be a key's id: a whole key that somebody sent in its place is none."""
    return re.fullmatch(_ID, value, re.ASCII) is not None


def is_key(token: str) -> bool:
    """Whether a credential means to be a key."""
    return token.startswith(f"{MARK}_")
