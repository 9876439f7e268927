"""Tokens (JWT, RFC 7519) of another issuer: from one that holds to who calls, and how far that reaches."""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jwt
from jwt.exceptions import ExpiredSignatureError

from memsvc import names
from memsvc.auth.grants import MAX_GRANTS, Grant, rights
from memsvc.auth.jwks import KeySet
from memsvc.auth.principal import Principal
from memsvc.errors import InvalidArgumentError, UnauthenticatedError

KNOWN_TOKENS = 1024
"""Tokens that were verified are kept in mind, so that a caller's every call does not cost a signature."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenConfig:
    """Which tokens are taken."""

    issuer: str
    """Its `iss`, exactly."""
    audience: str
    """What its `aud` is or has."""
    leeway_s: float = 30.0
    """How far clocks may differ."""
    claim: str = "memsvc"
    """Which claim has the grants."""


class JwtTokens:
    """Reads tokens; implements `memsvc.auth.authenticator.Tokens`.

    Args:
        config: which are taken.
        keys: the issuer's.
        clock: seconds since the epoch.
    """

    def __init__(self, config: TokenConfig, keys: KeySet, clock: Callable[[], float] = time.time) -> None:
        self._config, self._keys, self._clock = config, keys, clock
        self._known: OrderedDict[bytes, Principal] = OrderedDict()

    async def principal(self, token: str) -> Principal:
        """See `Tokens.principal`. What is wrong with a token is told only where its signature holds."""
        mark = hashlib.sha256(token.encode()).digest()
        if (known := self._known.get(mark)) is not None:
            known.check_standing()
            self._known.move_to_end(mark)
            return known
        principal = await self._verified(token)
        self._known[mark] = principal
        while len(self._known) > KNOWN_TOKENS:
            self._known.popitem(last=False)
        return principal

    async def _verified(self, token: str) -> Principal:
        try:
            header = jwt.get_unverified_header(token)
        except (jwt.PyJWTError, ValueError, RecursionError):  # the last for what is nested too deep
            raise _invalid() from None
        id, algorithm = header.get("kid"), header.get("alg")
        if not isinstance(id, str) or not isinstance(algorithm, str):
            raise _invalid()
        key = await self._keys.key(id, algorithm)
        try:
            claims = jwt.decode(
                token,
                key,
                algorithms=[algorithm],  # that of the key, which was looked up by it among those that are taken
                issuer=self._config.issuer,
                audience=self._config.audience,
                leeway=self._config.leeway_s,
                options={"require": ["exp", "iss", "aud", "sub"], "enforce_minimum_key_length": True},
            )
        except ExpiredSignatureError:
            raise _expired() from None
        except (jwt.PyJWTError, ValueError, RecursionError):
            raise _invalid() from None
        ends = int(claims["exp"]) + self._config.leeway_s

        def check_standing() -> None:
            self._keys.check(id, algorithm)
            if self._clock() >= ends:
                raise _expired()

        return Principal(name=_name(claims), grants=self._grants(claims), check_standing=check_standing)

    def _grants(self, claims: Mapping[str, Any]) -> tuple[Grant, ...]:
        """Return a token's grants; none where it has no such claim.

        Raises:
            UnauthenticatedError: the claim is no list of grants.
        """
        claim, asked = self._config.claim, claims.get(self._config.claim, [])
        if not isinstance(asked, list) or len(asked) > MAX_GRANTS:
            raise _wrong(f"its claim {claim} is no list of up to {MAX_GRANTS} grants")
        return tuple(_grant(f"{claim}[{i}]", each) for i, each in enumerate(asked))


def _grant(at: str, value: object) -> Grant:
    if not isinstance(value, dict) or value.keys() != {"tenant", "rights"}:
        raise _wrong(f"{at} is no object of tenant and rights")
    tenant, asked = value["tenant"], value["rights"]
    if not isinstance(tenant, str) or not isinstance(asked, list):
        raise _wrong(f"{at} has no string for a tenant, or no list of rights")
    try:
        return Grant(tenant, rights("rights", map(str, asked)))
    except (InvalidArgumentError, UnicodeEncodeError):
        raise _wrong(f"{at} has a pattern or a right that is none") from None


def _name(claims: Mapping[str, Any]) -> str:
    try:
        return f"jwt:{names.name('sub', claims['sub'])}"
    except (InvalidArgumentError, UnicodeEncodeError):
        raise _wrong("its sub is no name of 1 to 256 bytes without control characters") from None


def _invalid() -> UnauthenticatedError:
    return UnauthenticatedError("the credential is not valid", reason="CREDENTIAL_INVALID")


def _expired() -> UnauthenticatedError:
    return UnauthenticatedError("the token has expired", reason="CREDENTIAL_EXPIRED")


def _wrong(what: str) -> UnauthenticatedError:
    return UnauthenticatedError(f"the token cannot be used: {what}", reason="CREDENTIAL_INVALID")
