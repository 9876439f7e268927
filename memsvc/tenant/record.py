"""What the log's bytes mean: entries, and the bodies of records. Pure; the store sees only bytes."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from types import MappingProxyType, NoneType
from typing import Any, NamedTuple

import msgpack

from memsvc import damage
from memsvc.errors import DataLossError
from memsvc.memory.config import MemoryConfig
from memsvc.memory.presets import changed
from memsvc.store.types import Payload
from memsvc.tenant.policies import Policies
from memsvc.tenant.totals import Totals

FORMAT = 1
"""First byte of every payload and body. A reader refuses what is newer than it knows."""
MOST_LISTS, MOST_VALUES = 8, 256
"""Lists and maps in a payload or body, and values in each: more than any has, and little whatever a file says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What a caller wrote as one entry, validated; without what the server assigns."""

    text: str
    session: str = ""
    role: str = ""
    time_us: int | None = None
    """The event's time, microseconds since the epoch; None takes the commit time."""
    metadata_json: str = ""
    """A JSON object as the caller gave it; empty for none."""
    vector: bytes = b""
    """Little-endian float32, unit length; empty when the server encodes the text."""
    learn: bool = True
    """Whether the text changes weights."""
    expire_us: int | None = None
    """When it expires, microseconds since the epoch; None where the caller does not say."""


class Created(NamedTuple):
    """How a tenant was made."""

    memory: MemoryConfig
    fingerprint: str
    """The numerics of its first view."""
    policies: Policies
    context_memory: str
    """The model whose memory its text streams into, `<name>@<hash>`; empty for none."""


def encode_payload(id: str, content: Content, *, id_assigned: bool = False) -> Payload:
    """Pack one entry for the store.

    The content hash covers what the caller gave, and the id only if the caller gave it: two tenants that were given
    the same have the same hashes.
    """
    fields = _fields(content)
    hashed = msgpack.packb([FORMAT, "" if id_assigned else id, *fields, content.learn, content.expire_us])
    return Payload(
        id=id,
        content_hash=hashlib.sha256(hashed).digest(),
        data=_pack(fields),
        learn=content.learn,
        expire_us=content.expire_us,
    )


def decode_payload(payload: Payload) -> Content:
    """Unpack one entry.

    Raises:
        DataLossError: the bytes are damaged, or of a newer format.
    """
    text, session, role, time_us, metadata_json, vector = _unpack(payload.data, 6)
    labels = (text, session, role, metadata_json)
    if not all(isinstance(label, str) for label in labels) or not isinstance(vector, bytes):
        raise DataLossError("an entry's fields are of other types")
    if type(time_us) not in {int, NoneType}:
        raise DataLossError("an entry's time is none")
    return Content(
        text=text,
        session=session,
        role=role,
        time_us=time_us,
        metadata_json=metadata_json,
        vector=vector,
        learn=payload.learn,
        expire_us=payload.expire_us,
    )


def encode_create(
    memory: MemoryConfig, fingerprint: str, policies: Policies | None = None, context_memory: str = ""
) -> bytes:
    """Pack the body of a CREATE record: what `Created` has.

    The width is the encoder's, not the tenant's: with another encoder the same log folds to another view. Without a
    context memory nothing is said of it.
    """
    settings = asdict(memory)
    del settings["width"]
    return _pack([settings, fingerprint, asdict(policies or Policies()), *filter(None, [context_memory])])


def decode_create(body: bytes, width: int) -> Created:
    """Unpack the body of a CREATE record.

    Raises:
        DataLossError: the bytes are damaged, or of a newer format.
    """
    settings, fingerprint, policies, *rest = _unpack(body, 3, 4)
    context_memory = rest[0] if rest else ""
    if not isinstance(fingerprint, str):
        raise DataLossError("the name of a tenant's numerics is none")
    if not isinstance(context_memory, str):
        raise DataLossError("the name of a tenant's context memory is none")
    with damage.told_as("a tenant's settings are none"):
        memory, kept = MemoryConfig(**settings, width=width), Policies(**policies)
        check_types(memory)
        check_types(kept)
    return Created(memory, fingerprint, kept, context_memory)


def encode_numerics(fingerprint: str, adopted_seq: int) -> bytes:
    """Pack the body of a NUMERICS record: the snapshot at adopted_seq was adopted, the rest folded under this."""
    return _pack([fingerprint, adopted_seq])


def decode_numerics(body: bytes) -> tuple[str, int]:
    """Unpack the body of a NUMERICS record: fingerprint, adopted_seq.

    Raises:
        DataLossError: the bytes are damaged, or of a newer format.
    """
    fingerprint, adopted_seq = _unpack(body, 2)
    if not isinstance(fingerprint, str) or not isinstance(adopted_seq, int):
        raise DataLossError("a change of numerics is none")
    return fingerprint, adopted_seq


def encode_configure(changes: Mapping[str, Any], policies: Mapping[str, Any] = MappingProxyType({})) -> bytes:
    """Pack the body of a CONFIGURE record: the settings and policies that change, as the caller gave them."""
    return _pack([dict(sorted(changes.items())), dict(sorted(policies.items()))])


def decode_configure(body: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """Unpack the body of a CONFIGURE record: settings, policies.

    Raises:
        DataLossError: the bytes are damaged, or of a newer format.
    """
    changes, policies = _unpack(body, 2)
    if not isinstance(changes, dict) or not isinstance(policies, dict):
        raise DataLossError("a change of settings is none")
    return changes, policies


def reconfigured(config: bytes, changes: Mapping[str, Any], policies: Mapping[str, Any]) -> bytes:
    """Return the body of a CREATE record, or a tenant's config, with some settings and policies changed.

    Raises:
        InvalidArgumentError: a value is out of its range, or cannot be changed; names the field.
        DataLossError: the bytes are damaged, or of a newer format.
    """
    before = decode_create(config, width=1)
    memory, kept = changed(before.memory, changes), before.policies.changed(policies)
    return encode_create(memory, before.fingerprint, kept, before.context_memory)


def encode_feedback(*, useful: bool) -> bytes:
    """Pack the body of a FEEDBACK record."""
    return _pack([useful])


def decode_feedback(body: bytes) -> bool:
    """Unpack the body of a FEEDBACK record: whether the entries were useful.

    Raises:
        DataLossError: the bytes are damaged, or of a newer format.
    """
    (useful,) = _unpack(body, 1)
    return bool(useful)


def check_types(settings: MemoryConfig | Policies | Totals) -> None:
    """Look whether every field is of its type; a whole number is a number.

    Raises:
        TypeError: one is not.
    """
    for field in fields(settings):
        value, kind = getattr(settings, field.name), type(field.default)
        if type(value) is not kind and not (kind is float and type(value) is int):
            raise TypeError(f"{field.name} is of another type")


def _pack(values: list[Any]) -> bytes:
    packed: bytes = msgpack.packb(values)
    return bytes([FORMAT]) + packed


def _fields(content: Content) -> list[Any]:
    return [content.text, content.session, content.role, content.time_us, content.metadata_json, content.vector]


def _unpack(data: bytes, *arity: int) -> list[Any]:
    if not data or data[0] != FORMAT:
        raise DataLossError(f"a record of format {data[:1].hex() or 'nothing'}; this version reads {FORMAT:02x}")
    left = iter(range(MOST_LISTS))

    def counted(value: Any) -> Any:
        if next(left, None) is None:
            raise ValueError("more lists than a record has")
        return value

    try:
        values = msgpack.unpackb(
            data[1:], max_array_len=MOST_VALUES, max_map_len=MOST_VALUES, list_hook=counted, object_hook=counted
        )
    except damage.READING as error:
        raise DataLossError("a record does not unpack") from error
    if not isinstance(values, list) or len(values) not in arity:
        raise DataLossError(f"a record of {' or '.join(map(str, arity))} fields was expected")
    return values
