"""API keys, from a caller's arguments to messages and back."""

from __future__ import annotations  # an enum's values have a type in its stubs only

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

from google.protobuf.timestamp_pb2 import Timestamp

from memsvc.limits import MAX_PAGE_SIZE
from memsvc.v1 import auth_pb2
from memsvc_client import _values
from memsvc_client.types import Key, NewKey

_RIGHTS: Mapping[str, auth_pb2.Right.ValueType] = MappingProxyType(
    {"read": auth_pb2.RIGHT_READ, "write": auth_pb2.RIGHT_WRITE, "admin": auth_pb2.RIGHT_ADMIN}
)
_NAMES: Mapping[int, str] = MappingProxyType({number: name for name, number in _RIGHTS.items()})


def create_key(
    name: str, grants: Mapping[str, str | Iterable[str]], expire: datetime | None
) -> auth_pb2.CreateKeyRequest:
    """Return the request that makes a key."""
    if not isinstance(grants, Mapping) or not grants:
        raise _values.wrong("grants", 'must say which rights on which tenants, for example {"team/*": ["read"]}')
    return auth_pb2.CreateKeyRequest(
        name=_values.string("name", name),
        grants=[
            auth_pb2.Grant(tenant=_values.string("grants", tenant), rights=_rights(tenant, rights))
            for tenant, rights in grants.items()
        ],
        expire_time=_values.timestamp("expire", expire),
    )


def list_keys() -> auth_pb2.ListKeysRequest:
    """Return the request for the first page of keys."""
    return auth_pb2.ListKeysRequest(page_size=MAX_PAGE_SIZE)


def rotate_key(id: str, overlap: timedelta | float) -> auth_pb2.RotateKeyRequest:
    """Return the request that gives a key another secret."""
    return auth_pb2.RotateKeyRequest(id=_values.string("id", id), overlap=_values.duration("overlap", overlap))


def revoke_key(id: str) -> auth_pb2.RevokeKeyRequest:
    """Return the request that makes a key worthless."""
    return auth_pb2.RevokeKeyRequest(id=_values.string("id", id))


def key(message: auth_pb2.Key) -> Key:
    """Return a key."""
    return Key(
        id=message.id,
        name=message.name,
        grants={
            grant.tenant: tuple(_NAMES.get(right, str(right)) for right in grant.rights) for grant in message.grants
        },
        create_time=_time(message.create_time),
        expire_time=_time(message.expire_time) if message.HasField("expire_time") else None,
        revoke_time=_time(message.revoke_time) if message.HasField("revoke_time") else None,
        rotate_time=_time(message.rotate_time) if message.HasField("rotate_time") else None,
    )


def new_key(message: auth_pb2.CreateKeyResponse | auth_pb2.RotateKeyResponse) -> NewKey:
    """Return a key with its secret."""
    return NewKey(key=key(message.key), secret=message.secret)


def _rights(tenant: str, rights: str | Iterable[str]) -> list[auth_pb2.Right.ValueType]:
    names = [rights] if isinstance(rights, str) else list(rights)
    if not names or any(name not in _RIGHTS for name in names):
        raise _values.wrong("grants", f"the rights on {tenant!r} must be some of read, write and admin")
    return [_RIGHTS[name] for name in names]


def _time(value: Timestamp) -> datetime:
    return value.ToDatetime(tzinfo=UTC)
