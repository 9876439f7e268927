"""What the log's bytes mean: entries, and the bodies of records. Pure; the store sees only bytes."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import msgpack

from memsvc.errors import DataLossError
from memsvc.memory.config import MemoryConfig
from memsvc.store.base import Payload

FORMAT = 1
"""First byte of every payload and body. A reader refuses what is newer than it knows."""


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


def encode_payload(id: str, content: Content, *, id_assigned: bool = False) -> Payload:
    """Pack one entry for the store.

    The content hash covers what the caller gave, and the id only if the caller gave it: two tenants that were given
    the same have the same hashes.
    """
    fields = _fields(content)
    hashed = msgpack.packb([FORMAT, "" if id_assigned else id, *fields, content.learn])
    return Payload(id=id, content_hash=hashlib.sha256(hashed).digest(), data=_pack(fields), learn=content.learn)


def decode_payload(payload: Payload) -> Content:
    """Unpack one entry.

    Raises:
        DataLossError: the bytes are damaged, or of a newer format.
    """
    text, session, role, time_us, metadata_json, vector = _unpack(payload.data, 6)
    return Content(
        text=text,
        session=session,
        role=role,
        time_us=time_us,
        metadata_json=metadata_json,
        vector=vector,
        learn=payload.learn,
    )


def encode_create(memory: MemoryConfig, fingerprint: str) -> bytes:
    """Pack the body of a CREATE record: how the memory learns, and the numerics that the first view is folded under.

    The width is the encoder's, not the tenant's: with another encoder the same log folds to another view.
    """
    settings = asdict(memory)
    del settings["width"]
    return _pack([settings, fingerprint])


def decode_create(body: bytes, width: int) -> tuple[MemoryConfig, str]:
    """Unpack the body of a CREATE record.

    Raises:
        DataLossError: the bytes are damaged, or of a newer format.
    """
    settings, fingerprint = _unpack(body, 2)
    return MemoryConfig(**settings, width=width), fingerprint


def encode_numerics(fingerprint: str, adopted_seq: int) -> bytes:
    """Pack the body of a NUMERICS record: the snapshot at adopted_seq was adopted, the rest folded under this."""
    return _pack([fingerprint, adopted_seq])


def decode_numerics(body: bytes) -> tuple[str, int]:
    """Unpack the body of a NUMERICS record: fingerprint, adopted_seq.

    Raises:
        DataLossError: the bytes are damaged, or of a newer format.
    """
    fingerprint, adopted_seq = _unpack(body, 2)
    return fingerprint, adopted_seq


def encode_configure(changes: Mapping[str, Any]) -> bytes:
    """Pack the body of a CONFIGURE record: the settings that change, as the caller gave them."""
    return _pack([dict(sorted(changes.items()))])


def decode_configure(body: bytes) -> dict[str, Any]:
    """Unpack the body of a CONFIGURE record.

    Raises:
        DataLossError: the bytes are damaged, or of a newer format.
    """
    (changes,) = _unpack(body, 1)
    return dict(changes)


def _pack(values: list[Any]) -> bytes:
    packed: bytes = msgpack.packb(values)
    return bytes([FORMAT]) + packed


def _fields(content: Content) -> list[Any]:
    return [content.text, content.session, content.role, content.time_us, content.metadata_json, content.vector]


def _unpack(data: bytes, arity: int) -> list[Any]:
    if not data or data[0] != FORMAT:
        raise DataLossError(f"a record of format {data[:1].hex() or 'nothing'}; this version reads {FORMAT:02x}")
    try:
        values = msgpack.unpackb(data[1:])
    except (ValueError, msgpack.UnpackException) as error:
        raise DataLossError("a record does not unpack") from error
    if not isinstance(values, list) or len(values) != arity:
        raise DataLossError(f"a record of {arity} fields was expected")
    return values
