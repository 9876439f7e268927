"""Which credentials a server takes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import structlog

from memsvc.auth.authenticator import AdminKey, Authenticator, Tokens
from memsvc.auth.certificates import Client, KnownCertificates, Naming
from memsvc.auth.keyring import KeyRing
from memsvc.errors import FailedPreconditionError
from memsvc.server.auth_config import JwtSettings
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


async def make_authenticator(settings: Settings, keys: KeyRing) -> Authenticator:
    """Return what knows the callers of a server with these settings.

    Raises:
        FailedPreconditionError: a file that a setting names cannot be used, or an extra is not installed.
    """
    made = Authenticator(
        keys,
        admin=_admin(settings),
        tokens=None if settings.auth_jwt is None else await _tokens(settings.auth_jwt),
        certificates=_certificates(settings),
    )
    if not made.knows_somebody:
        log.warning("nobody can call yet: make a key with `memsvc keys create` on the store while no server runs on it")
    return made


async def _tokens(settings: JwtSettings) -> Tokens:
    try:
        from memsvc.auth import jwks_sources  # noqa: PLC0415  # an extra
        from memsvc.auth.jwks import KeySet  # noqa: PLC0415
        from memsvc.auth.tokens import JwtTokens, TokenConfig  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise FailedPreconditionError(
            "auth_jwt needs a library for tokens: pip install 'memsvc[auth]'", reason="EXTRA_MISSING"
        ) from error
    if settings.jwks_file is not None:
        source = jwks_sources.file(settings.jwks_file)
    else:
        source = jwks_sources.url(settings.jwks_url or "", settings.ca_file)
    keys = KeySet(source, settings.algorithms, settings.refresh_s)
    await keys.start()
    config = TokenConfig(
        issuer=settings.issuer, audience=settings.audience, leeway_s=settings.leeway_s, claim=settings.claim
    )
    return JwtTokens(config, keys)


def _certificates(settings: Settings) -> KnownCertificates | None:
    clients = []
    for each in settings.auth_clients:
        grants = tuple(grant.grant() for grant in each.grants)
        named = ((Naming.SUBJECT, each.subject), (Naming.DNS, each.dns), (Naming.URI, each.uri))
        clients += [Client(naming, name, grants) for naming, name in named if name]
    return KnownCertificates(clients) if clients else None


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
