"""From a call's credential to who calls."""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping
from typing import Protocol

from memsvc.auth.grants import Grant, Right
from memsvc.auth.keyring import KeyRing
from memsvc.auth.keys import digest, is_key
from memsvc.auth.principal import Principal
from memsvc.errors import FailedPreconditionError, UnauthenticatedError

MAX_TOKEN_BYTES = 8192
MIN_ADMIN_BYTES = 32
SCHEME = "bearer"
EVERYTHING = (Grant("*", frozenset(Right)),)

Peer = Mapping[str, Iterable[bytes]]
"""What gRPC knows of who is at the other end, by name."""


class Tokens(Protocol):
    """What reads tokens of another issuer."""

    async def principal(self, token: str) -> Principal:
        """Return whose token it is.

        Raises:
            UnauthenticatedError: it is not valid.
            UnavailableError: nobody can tell now.
        """
        ...


class Certificates(Protocol):
    """What knows clients by their certificates."""

    def principal(self, peer: Peer) -> Principal | None:
        """Return whose certificate it is; None where there is none.

        Raises:
            UnauthenticatedError: it is nobody's here.
        """
        ...


class AdminKey:
    """A key that an operator gives the server in a file: it may do everything, and is changed with the file.

    Args:
        token: the file's contents.

    Raises:
        FailedPreconditionError: it is too short to be a secret, or is no word of visible ASCII.
    """

    def __init__(self, token: str) -> None:
        token = token.strip()
        if len(token) < MIN_ADMIN_BYTES or not (token.isascii() and token.isprintable()) or " " in token:
            raise FailedPreconditionError(
                f"auth_admin_key_file: must hold one word of {MIN_ADMIN_BYTES} or more visible ASCII characters, such "
                "as `openssl rand -hex 32` prints",
                reason="ADMIN_KEY_UNFIT",
            )
        self._digest = digest(token)

    def is_it(self, token: str) -> bool:
        """Whether a credential is this key."""
        return hmac.compare_digest(self._digest, digest(token))


class Authenticator:
    """Knows callers by their credentials.

    Args:
        keys: API keys.
        admin: the operator's.
        tokens: of another issuer.
        certificates: of clients.
    """

    def __init__(
        self,
        keys: KeyRing,
        admin: AdminKey | None = None,
        tokens: Tokens | None = None,
        certificates: Certificates | None = None,
    ) -> None:
        self._keys, self._admin, self._tokens, self._certificates = keys, admin, tokens, certificates

    @property
    def knows_somebody(self) -> bool:
        """Whether there is any credential that would be taken."""
        return bool(len(self._keys) or self._admin or self._tokens or self._certificates)

    async def of_header(self, value: str) -> Principal:
        """Return who calls with this `authorization`.

        Raises:
            UnauthenticatedError: nobody that is known.
            UnavailableError: nobody can tell now.
        """
        scheme, _, token = value.strip().partition(" ")
        token = token.strip()
        if scheme.lower() != SCHEME or not token.isascii() or not 0 < len(token) <= MAX_TOKEN_BYTES:
            raise UnauthenticatedError(
                "authorization: must be `Bearer` and a credential of at most 8 KiB of ASCII",
                reason="CREDENTIAL_INVALID",
            )
        if self._admin is not None and self._admin.is_it(token):
            return Principal(name="admin-file", grants=EVERYTHING)
        if is_key(token) or self._tokens is None:
            return self._keys.principal(token)
        return await self._tokens.principal(token)

    @property
    def knows_connections(self) -> bool:
        """Whether a connection itself may say who calls."""
        return self._certificates is not None

    def of_peer(self, peer: Peer) -> Principal:
        """Return who calls over this connection, without an `authorization`.

        Raises:
            UnauthenticatedError: nobody that is known.
        """
        principal = self._certificates.principal(peer) if self._certificates is not None else None
        if principal is None:
            raise missing()
        return principal


def missing() -> UnauthenticatedError:
    """Return what to raise where nothing says who calls."""
    return UnauthenticatedError(
        "this server asks for a credential: send the metadata `authorization: Bearer KEY`", reason="CREDENTIAL_MISSING"
    )
