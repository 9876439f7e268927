"""Which credentials a server takes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import structlog

from memsvc.auth.authenticator import AdminKey, Authenticator
from memsvc.auth.keyring import KeyRing
from memsvc.errors import FailedPreconditionError
from memsvc.server.config import Settings
from memsvc.store.base import Store

log = structlog.get_logger("memsvc.auth")


@asynccontextmanager
async def followed_keys(settings: Settings, store: Store) -> AsyncIterator[KeyRing | None]:
    """Hold the deployment's keys, up to date; None for a server that asks nobody.

    Raises:
        UnavailableError: the store cannot be read.
    """
    if not settings.auth:
        yield None
        return
    keys = KeyRing(store)
    await keys.refresh()
    following = asyncio.create_task(keys.follow())
    try:
        yield keys
    finally:
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following


def make_authenticator(settings: Settings, keys: KeyRing) -> Authenticator:
    """Return what knows the callers of a server with these settings.

    Raises:
        FailedPreconditionError: a file that a setting names cannot be used.
    """
    made = Authenticator(keys, admin=_admin(settings))
    if not made.knows_somebody:
        log.warning("nobody can call yet: make a key with `memsvc keys create` on the store while no server runs on it")
    return made


def _admin(settings: Settings) -> AdminKey | None:
    if settings.auth_admin_key_file is None:
        return None
    try:
        return AdminKey(settings.auth_admin_key_file.read_text("ascii"))
    except (OSError, UnicodeDecodeError) as error:
        raise FailedPreconditionError(
            f"auth_admin_key_file: {settings.auth_admin_key_file} cannot be read as ASCII text",
            reason="ADMIN_KEY_UNFIT",
        ) from error
