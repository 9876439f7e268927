"""The API keys of a deployment, in memory as the store has them, and their changes.

A call looks no key up in the store: it would be slow, and whoever guesses ids would keep the store busy. So every
process has them all, and asks each second whether they were changed.
"""

import asyncio
import hmac
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType

from memsvc import names
from memsvc.auth.grants import Grant, limited
from memsvc.auth.keys import ApiKey, Secret, digest, id_of, new_id, new_secret
from memsvc.auth.principal import Principal
from memsvc.errors import (
    DataLossError,
    FailedPreconditionError,
    InvalidArgumentError,
    MemsvcError,
    NotFoundError,
    UnauthenticatedError,
    UnavailableError,
)
from memsvc.store.clock import wall_clock_us
from memsvc.store.credentials import Credentials

log = logging.getLogger(__name__)

FOLLOW_S = 1.0
"""Between two questions whether the keys were changed. A revocation is known everywhere within twice that."""
STALE_S = 10.0
"""Without an answer for this long no key is trusted: it might be revoked."""
MAX_NAME_BYTES = 256
MAX_KEYS = 10_000
KEPT_US = 30 * 24 * 3600 * 1_000_000
"""How long a key that was revoked or expired is still listed; then the next change drops it."""
MAX_OVERLAP_US = 30 * 24 * 3600 * 1_000_000
MAX_SECRETS = 4
"""Of one key at a time, older ones that are still valid included."""
ATTEMPTS = 8

_NOBODY = ApiKey(id="", name="", grants=(), created_us=0, secrets=(Secret(digest(new_secret(""))),))
"""Whom an unknown key is compared with, so that it costs what a known one does. Its secret was never handed out."""


class KeyRing:
    """All keys of a deployment.

    Args:
        store: where they are kept.
        clock_us: microseconds since the epoch; may step back.
        monotonic: seconds.
    """

    def __init__(
        self,
        store: Credentials,
        clock_us: Callable[[], int] = wall_clock_us,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._clock_us, self._monotonic = store, clock_us, monotonic
        self._version = -1
        self._keys: Mapping[str, ApiKey] = MappingProxyType({})
        self._unread: frozenset[str] = frozenset()
        self._asked = -STALE_S
        self._changing = asyncio.Lock()

    def __len__(self) -> int:
        return len(self._keys)

    # --- following the store --------------------------------------------------------------------------------------

    async def refresh(self) -> None:
        """Take over what was changed since.

        Raises:
            UnavailableError: the store does not answer.
        """
        asked, known = self._monotonic(), self._version
        if await self._store.credentials_version() != known:
            table = await self._store.credentials()
            if (
                self._version == known
            ):  # or a change of our own was faster, and the next question finds what else is new
                self._take(table.version, table.bodies)
        self._asked = asked

    async def follow(self) -> None:
        """Refresh again and again; never returns."""
        while True:
            await asyncio.sleep(FOLLOW_S)
            try:
                await self.refresh()
            except MemsvcError as error:
                log.warning("the keys could not be read: %s", error)

    def _take(self, version: int, bodies: Mapping[str, bytes]) -> None:
        keys: dict[str, ApiKey] = {}
        for id, body in bodies.items():
            try:
                keys[id] = ApiKey.decode(id, body)
            except DataLossError as error:
                log.error("a key is not to be used: %s", error)
        self._version, self._keys, self._unread = version, MappingProxyType(keys), frozenset(bodies.keys() - keys)

    # --- checking -------------------------------------------------------------------------------------------------

    def principal(self, token: str) -> Principal:
        """Return whose key this is.

        Raises:
            UnauthenticatedError: nobody's, or it is of no use any more; which of both, only its holder is told.
            UnavailableError: the store has not answered for too long to know.
        """
        key = self._keys.get(id_of(token) or "", _NOBODY)
        held = digest(token)
        matches = [secret for secret in key.secrets if hmac.compare_digest(secret.digest, held)]
        self._check_fresh()
        if not matches:
            raise UnauthenticatedError("the credential is not valid", reason="CREDENTIAL_INVALID")
        self._check(key.id, held)
        return Principal(
            name=f"key:{key.id}", grants=key.grants, check_standing=lambda: self._check_standing(key.id, held)
        )

    def _check_standing(self, id: str, held: bytes) -> None:
        self._check_fresh()
        self._check(id, held)

    def _check_fresh(self) -> None:
        if self._monotonic() - self._asked > STALE_S:
            raise UnavailableError("the store has not said for a while which keys are valid", reason="KEYS_STALE")

    def _check(self, id: str, held: bytes) -> None:
        """Return while a key is valid by this secret of its own."""
        key, now_us = self._keys.get(id, _NOBODY), self._clock_us()
        secret = next((s for s in key.secrets if hmac.compare_digest(s.digest, held)), None)
        if secret is None or key.revoked_us is not None:
            raise UnauthenticatedError("the key was revoked", reason="CREDENTIAL_REVOKED")
        if key.ended_us(now_us) is not None or (secret.until_us is not None and secret.until_us <= now_us):
            raise UnauthenticatedError("the key has expired", reason="CREDENTIAL_EXPIRED")

    # --- changing -------------------------------------------------------------------------------------------------

    def get(self, id: str) -> ApiKey | None:
        """Return a key as it was last read."""
        return self._keys.get(id)

    def all(self) -> list[ApiKey]:
        """Return all keys, by id."""
        return [self._keys[id] for id in sorted(self._keys)]

    async def create(self, name: str, grants: tuple[Grant, ...], expires_us: int | None) -> tuple[ApiKey, str]:
        """Make a key; return it, and the whole of it, which nobody can return again.

        Raises:
            InvalidArgumentError: an argument is wrong; names the field.
            FailedPreconditionError: there are too many.
            UnavailableError: the store cannot write; there may be a key that nobody has.
        """
        names.name("name", name, MAX_NAME_BYTES)
        limited("grants", grants)
        now_us = self._clock_us()
        if expires_us is not None and expires_us <= now_us:
            raise InvalidArgumentError("expire_time", "must lie ahead")
        id = new_id()
        token = new_secret(id)
        key = ApiKey(
            id=id,
            name=name,
            grants=grants,
            created_us=now_us,
            expires_us=expires_us,
            secrets=(Secret(digest(token)),),
        )
        return await self._change(id, lambda _: key), token

    async def rotate(self, id: str, overlap_us: int) -> tuple[ApiKey, str]:
        """Give a key another secret; return both, as `create` does. Older secrets end after the overlap at the latest.

        Raises:
            InvalidArgumentError: the overlap is below 0 or above 30 days.
            NotFoundError: there is no such key.
            FailedPreconditionError: it is revoked or expired, or has too many secrets that are valid.
            UnavailableError: as for `create`.
        """
        if not 0 <= overlap_us <= MAX_OVERLAP_US:
            raise InvalidArgumentError("overlap", "must be 0 to 30 days")
        token = new_secret(id)

        def rotated(key: ApiKey | None) -> ApiKey:
            now_us = self._clock_us()
            if key is None:
                raise _no_key()
            if key.ended_us(now_us) is not None:
                raise FailedPreconditionError("the key is revoked or expired; make a new one", reason="KEY_ENDED")
            end_us = now_us + overlap_us
            older = [Secret(s.digest, end_us if s.until_us is None else min(s.until_us, end_us)) for s in key.secrets]
            older = [secret for secret in older if secret.until_us is not None and secret.until_us > now_us]
            if len(older) >= MAX_SECRETS:
                raise FailedPreconditionError(
                    f"the key has {len(older)} older secrets that are valid still; wait for their end, or rotate it "
                    "without an overlap",
                    reason="KEY_ROTATED_TOO_OFTEN",
                )
            return replace(key, rotated_us=now_us, secrets=(Secret(digest(token)), *older))

        return await self._change(id, rotated), token

    async def revoke(self, id: str) -> ApiKey:
        """Make a key worthless at once; one that is already stays as it is.

        Raises:
            NotFoundError: there is no such key.
            UnavailableError: the store cannot write; it may be revoked all the same.
        """

        def revoked(key: ApiKey | None) -> ApiKey:
            if key is None:
                raise _no_key()
            return key if key.revoked_us is not None else replace(key, revoked_us=self._clock_us())

        return await self._change(id, revoked)

    async def _change(self, id: str, change: Callable[[ApiKey | None], ApiKey]) -> ApiKey:
        async with self._changing:
            for attempt in range(ATTEMPTS):
                await self.refresh()
                before = self._keys.get(id)
                after = change(before)
                if after == before:
                    return after
                long_ago = self._clock_us() - KEPT_US
                gone = {old for old, key in self._keys.items() if key.ended_us(long_ago) is not None} - {id}
                if len(self._keys) + len(self._unread) - len(gone) >= MAX_KEYS and before is None:
                    raise FailedPreconditionError(f"there are {MAX_KEYS} keys; revoke some", reason="TOO_MANY_KEYS")
                try:
                    version = await self._store.change_credentials(self._version, {id: after.encode()}, gone)
                except FailedPreconditionError as error:
                    if error.reason != "CREDENTIALS_CHANGED" or attempt == ATTEMPTS - 1:
                        raise
                    continue
                if version > self._version:
                    kept = {old: key for old, key in self._keys.items() if old not in gone}
                    self._version, self._keys = version, MappingProxyType({**kept, id: after})
                return after
        raise AssertionError("the last attempt returns or raises")


def _no_key() -> NotFoundError:
    return NotFoundError("there is no key of that id", reason="KEY_NOT_FOUND")
