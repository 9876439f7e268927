"""The public keys of an issuer of tokens, from a file or from its URL, as they are now.

Issuers change their keys. So they are read again after a while, and when a token names one that is not known; but not
at every such token, or whoever sends nonsense would keep us and the issuer busy.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import structlog
from jwt import PyJWK
from jwt.exceptions import PyJWTError

from memsvc.errors import UnauthenticatedError, UnavailableError

log = structlog.get_logger("memsvc.auth")

AGAIN_S = 10.0
"""At least so long between two readings."""
TRUST_S = 24 * 3600.0
"""How long keys are trusted while the issuer cannot be reached."""

ALGORITHMS: Mapping[tuple[str, str], tuple[str, ...]] = MappingProxyType(
    {
        ("RSA", ""): ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
        ("EC", "P-256"): ("ES256",),
        ("EC", "P-384"): ("ES384",),
        ("EC", "P-521"): ("ES512",),
        ("OKP", "Ed25519"): ("EdDSA",),
    }
)
"""What a key can be used with, by its type and curve. None is symmetric: what is published signs nothing."""
KNOWN_ALGORITHMS = tuple(name for names in ALGORITHMS.values() for name in names)

_PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth"})
"""What a key has that signs (RFC 7518): where an issuer's file has it too, the public half checks signatures alone."""

Source = Callable[[], Awaitable[bytes]]
"""Reads the issuer's document (RFC 7517), away from the event loop; raises OSError when it cannot be had."""


class KeySet:
    """An issuer's keys, by their id and the algorithm that they are used with.

    Args:
        source: where they are read.
        algorithms: those that are taken.
        refresh_s: after so long they are read again.
        monotonic: seconds.
    """

    def __init__(
        self,
        source: Source,
        algorithms: Collection[str],
        refresh_s: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source, self._algorithms, self._refresh_s = source, frozenset(algorithms), refresh_s
        self._monotonic = monotonic
        self._keys: Mapping[tuple[str, str], PyJWK] = MappingProxyType({})
        self._read_at = self._tried_at = float("-inf")
        self._reading: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Read the keys for the first time. An issuer that is away is asked again when a token comes."""
        await self._read()

    async def key(self, id: str, algorithm: str) -> PyJWK:
        """Return a key.

        Raises:
            UnauthenticatedError: the issuer has none of that id for this algorithm.
            UnavailableError: the issuer has not been reached for too long to know.
        """
        if (id, algorithm) not in self._keys or self._is_older_than(TRUST_S):
            await self._read()
        elif self._is_older_than(self._refresh_s):
            self._begin()  # what is known serves meanwhile
        self.check(id, algorithm)
        return self._keys[id, algorithm]

    def check(self, id: str, algorithm: str) -> None:
        """Return if a key is the issuer's still, as far as is known; see `key`."""
        if self._is_older_than(self._refresh_s):
            self._begin()
        if self._is_older_than(TRUST_S):
            raise UnavailableError("the issuer of the tokens cannot be reached", reason="ISSUER_UNREACHABLE")
        if (id, algorithm) not in self._keys:
            raise UnauthenticatedError("the credential is not valid", reason="CREDENTIAL_INVALID")

    def _is_older_than(self, seconds: float) -> bool:
        return self._monotonic() - self._read_at > seconds

    async def _read(self) -> None:
        """Read the keys, unless that was just tried; many who wait for it wait for one reading."""
        if (reading := self._begin()) is not None:
            await asyncio.shield(reading)

    def _begin(self) -> "asyncio.Task[None] | None":
        if self._reading is None or self._reading.done():
            if self._monotonic() - self._tried_at < AGAIN_S:
                return None
            self._tried_at = self._monotonic()
            self._reading = asyncio.create_task(self._take())
        return self._reading

    async def _take(self) -> None:
        asked = self._monotonic()
        try:
            document = json.loads(await self._source())
            found = dict(_keys(document, self._algorithms))
        except (OSError, ValueError, RecursionError, TypeError) as error:
            log.warning("the issuer's keys could not be read", error=type(error).__name__)
            return
        if not found:
            log.warning("the issuer has no key of an algorithm that is taken")
        self._keys, self._read_at = MappingProxyType(found), asked


def _keys(document: Any, algorithms: Collection[str]) -> Iterator[tuple[tuple[str, str], PyJWK]]:
    """Yield a document's keys for signatures, each once for every algorithm that it may be used with.

    Raises:
        ValueError: it is no set of keys.
    """
    if not isinstance(document, dict) or not isinstance(document.get("keys"), list):
        raise ValueError("no set of keys")
    for whole in document["keys"]:
        each = {name: value for name, value in whole.items() if name not in _PRIVATE} if isinstance(whole, dict) else {}
        if not isinstance(id := each.get("kid"), str) or each.get("use", "sig") != "sig":
            continue
        type_ = str(each.get("kty"))
        possible = ALGORITHMS.get((type_, "" if type_ == "RSA" else str(each.get("crv"))), ())
        for algorithm in algorithms:
            if algorithm in possible and each.get("alg", algorithm) == algorithm:
                try:
                    yield (id, algorithm), PyJWK(each, algorithm)
                except (PyJWTError, ValueError, TypeError) as error:  # its words may repeat the key
                    log.warning("a key of the issuer is not to be used", key=id, error=type(error).__name__)
