"""AuthService: each method is validate, ask the key ring, convert."""

from bisect import bisect_right
from collections.abc import Sequence
from operator import attrgetter
from typing import Any, TypeAlias

import grpc

from memsvc import limits
from memsvc.auth.grants import Grant, Right, limited
from memsvc.auth.keyring import KeyRing
from memsvc.auth.keys import ApiKey
from memsvc.auth.principal import Principal
from memsvc.auth.rules import denied
from memsvc.errors import FailedPreconditionError, InvalidArgumentError
from memsvc.server import convert, principal, validate
from memsvc.v1 import auth_pb2, auth_pb2_grpc

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

RIGHTS = {Right.READ: auth_pb2.RIGHT_READ, Right.WRITE: auth_pb2.RIGHT_WRITE, Right.ADMIN: auth_pb2.RIGHT_ADMIN}
RIGHTS_BY_NUMBER: dict[int, Right] = {number: right for right, number in RIGHTS.items()}


class AuthService(auth_pb2_grpc.AuthServiceServicer):
    """Makes, shows, rotates and revokes API keys.

    Args:
        keys: the deployment's; None where nobody is asked for a credential.
    """

    def __init__(self, keys: KeyRing | None) -> None:
        self._ring = keys

    @property
    def _keys(self) -> KeyRing:
        if self._ring is None:
            raise FailedPreconditionError(
                "this server asks nobody for a credential, so it hands out none: start it with --auth",
                reason="AUTH_OFF",
            )
        return self._ring

    async def CreateKey(self, request: auth_pb2.CreateKeyRequest, context: Context) -> auth_pb2.CreateKeyResponse:
        """Make a key."""
        keys, caller = self._keys, principal.current()
        grants = limited("grants", [_grant(f"grants[{i}]", grant) for i, grant in enumerate(request.grants)])
        expires_us = validate.micros("expire_time", request.expire_time) if request.HasField("expire_time") else None
        if not (caller.administers(grants) and caller.outranks(grants)):
            raise denied()
        key, secret = await keys.create(request.name, grants, expires_us)
        return auth_pb2.CreateKeyResponse(key=_key(key), secret=secret)

    async def ListKeys(self, request: auth_pb2.ListKeysRequest, context: Context) -> auth_pb2.ListKeysResponse:
        """List the keys that the caller manages."""
        limit = validate.between("page_size", request.page_size, 1, limits.MAX_PAGE_SIZE, default=100)
        after = validate.read_page_token(request.page_token, "")
        keys, caller = self._keys, principal.current()
        shown = [key for key in keys.all() if caller.administers(key.grants)]
        shown = shown[bisect_right(shown, after, key=attrgetter("id")) :]
        return auth_pb2.ListKeysResponse(
            keys=map(_key, shown[:limit]),
            next_page_token=validate.page_token(shown[limit - 1].id) if len(shown) > limit else "",
        )

    async def RotateKey(self, request: auth_pb2.RotateKeyRequest, context: Context) -> auth_pb2.RotateKeyResponse:
        """Give a key another secret."""
        keys, caller = self._keys, principal.current()
        overlap_us = request.overlap.seconds * 1_000_000 + request.overlap.nanos // 1_000
        managed = _managed(keys, caller, request.id)
        # Who gets the secret of a key has its rights.
        if managed is not None and not caller.outranks(managed.grants):
            raise denied()
        key, secret = await keys.rotate(request.id, overlap_us)
        return auth_pb2.RotateKeyResponse(key=_key(key), secret=secret)

    async def RevokeKey(self, request: auth_pb2.RevokeKeyRequest, context: Context) -> auth_pb2.Key:
        """Make a key worthless."""
        keys, caller = self._keys, principal.current()
        _managed(keys, caller, request.id)
        return _key(await keys.revoke(request.id))


def _managed(keys: KeyRing, caller: Principal, id: str) -> ApiKey | None:
    """Return a key that the caller manages; None where there is none and the caller may know it, as it manages all.

    Raises:
        PermissionDeniedError: the caller does not manage it, or there is none.
    """
    validate.name("id", id)
    key = keys.get(id)
    grants: Sequence[Grant] = (Grant("*", frozenset(Right)),) if key is None else key.grants
    if not caller.administers(grants):
        raise denied()
    return key


def _grant(at: str, message: auth_pb2.Grant) -> Grant:
    unknown = [number for number in message.rights if number not in RIGHTS_BY_NUMBER]
    if unknown or not message.rights:
        raise InvalidArgumentError(f"{at}.rights", "must have one or more of read, write and admin, and nothing else")
    try:
        return Grant(message.tenant, frozenset(RIGHTS_BY_NUMBER[number] for number in message.rights))
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"{at}.{error.field}", error.description) from None


def _key(key: ApiKey) -> auth_pb2.Key:
    times = (key.expires_us, key.revoked_us, key.rotated_us)
    expire, revoke, rotate = (None if at is None else convert.timestamp(at) for at in times)
    return auth_pb2.Key(
        id=key.id,
        name=key.name,
        grants=[
            auth_pb2.Grant(tenant=grant.tenant, rights=[RIGHTS[right] for right in Right if right in grant.rights])
            for grant in key.grants
        ],
        create_time=convert.timestamp(key.created_us),
        expire_time=expire,
        revoke_time=revoke,
        rotate_time=rotate,
    )
