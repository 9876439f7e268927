"""What a file says of a tenant is checked before it is believed: a server must have been able to write it.

Checksums say that a file is whole, not who made it.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from memsvc import limits, names
from memsvc.backbone.titans_mac.shelf import IDENTITY
from memsvc.errors import DataLossError, InvalidArgumentError
from memsvc.memory.config import MemoryConfig
from memsvc.recall.metadata import parse_object
from memsvc.store.types import Payload, Record, RecordKind
from memsvc.tenant.archive import Header
from memsvc.tenant.record import (
    Content,
    decode_configure,
    decode_create,
    decode_feedback,
    decode_numerics,
    decode_payload,
)

FIELD = "data"
HASH_BYTES, KEY_BYTES = 32, range(16, 65)
MOST_NUMBER = 1 << 53
"""Numbers of records beyond this no server has reached."""
MOST_ENTRIES = {RecordKind.WRITE: limits.MAX_BATCH_ENTRIES, RecordKind.UPDATE: 1}
"""What a record of a kind numbers; of the others none does."""


def check_header(header: Header, width: int, seed: int) -> str:
    """Refuse a file whose tenant this server could not have made; return the numerics that it was begun under.

    Args:
        header: the file's.
        width: of this server's encoder.
        seed: of the initial weights that this server's memories share.

    Raises:
        InvalidArgumentError: it is damaged, or made up.
    """
    _require(isinstance(header.tenant, str), "has no tenant")
    names.name(FIELD, header.tenant)
    origin = header.origin
    _require(_is_time(origin.created_us) and _is_number(header.head_seq), "has numbers that are none")
    _require(isinstance(origin.id_key, bytes) and len(origin.id_key) in KEY_BYTES, "has a key that is none")
    _require(all(isinstance(hashed, bytes) and hashed for hashed in origin.forgotten), "has hashes that are none")
    return _check_settings(origin.config, width, seed)


def check_record(record: Record, header: Header, width: int, seed: int) -> None:
    """Refuse a record that no server would have written. Whether it follows the one before is the store's affair.

    Args:
        record: the file's.
        header: the file's, checked.
        width: of this server's encoder.
        seed: of the initial weights that this server's memories share.

    Raises:
        InvalidArgumentError: it is damaged, or made up.
    """
    _require(_is_number(record.seq) and _is_time(record.commit_us), "has numbers that are none")
    _require(isinstance(record.body, bytes) and all(map(_is_number, record.about)), "has a record that is none")
    _require((record.kind is RecordKind.CREATE) == (record.seq == 1), "does not begin with its tenant's creation")
    _require(not record.entries or record.kind in MOST_ENTRIES, "has entries where none can be")
    with refusing():
        match record.kind:
            case RecordKind.CREATE:
                _check_settings(record.body, width, seed)
                contexts = {
                    decode_create(config, width).context_memory for config in (record.body, header.origin.config)
                }
                _require(len(contexts) == 1, "is of two context memories")
            case RecordKind.NUMERICS:
                decode_numerics(record.body)
            case RecordKind.CONFIGURE:
                decode_configure(record.body)
            case RecordKind.FEEDBACK:
                decode_feedback(record.body)
    for entry in record.entries:
        _require(_is_number(entry.number), "has numbers that are none")
        _check_payload(entry.payload, width)


def check_numbers(record: Record, most: int) -> int:
    """Refuse a record whose entries have numbers that no server gave; return the highest that may be given after it.

    They are given one after another. How many entries a record had is not known once they are destroyed, but for how
    many it can have had: a store may go through what lies between two numbers.

    Args:
        record: checked.
        most: the highest that may be given before it.

    Raises:
        InvalidArgumentError: it is made up.
    """
    _require(all(number <= most for number in record.about), "has a record about entries that were not there yet")
    given = MOST_ENTRIES.get(record.kind, 0)
    if numbers := [entry.number for entry in record.entries]:
        _require(
            max(numbers) <= most + given and max(numbers) - min(numbers) < given, "has numbers that no server gives"
        )
    return most + given


@contextmanager
def refusing() -> Iterator[None]:
    """Turn what reading a file's bytes raises into its refusal.

    Raises:
        InvalidArgumentError: it is damaged.
    """
    try:
        yield
    except DataLossError as error:
        raise refused("is damaged: a part of it does not unpack") from error


def refused(why: str) -> InvalidArgumentError:
    """Return the refusal of a file."""
    return InvalidArgumentError(FIELD, f"the file {why}", reason="ARCHIVE_REFUSED")


def _check_settings(config: bytes, width: int, seed: int) -> str:
    _require(isinstance(config, bytes), "has settings that are none")
    with refusing():
        created = decode_create(config, width)
    _check_seed(created.memory, seed)
    model = created.context_memory
    _require(not model or IDENTITY.fullmatch(model) is not None, "has a context memory that is none")
    return created.fingerprint


def _check_seed(memory: MemoryConfig, seed: int) -> None:
    # Each seed would have initial weights and slots of its own, and keep them.
    _require(memory.seed == seed, "is of a memory with other initial weights")


def _check_payload(payload: Payload, width: int) -> None:
    _require(isinstance(payload.id, str) and isinstance(payload.data, bytes), "has an entry that is none")
    names.name(FIELD, payload.id)
    _require(
        isinstance(payload.content_hash, bytes)
        and len(payload.content_hash) == HASH_BYTES
        and isinstance(payload.learn, bool)
        and (payload.expire_us is None or _is_time(payload.expire_us)),
        "has an entry that is none",
    )
    with refusing():
        content = decode_payload(payload)
    _check_content(content, width)


def _check_content(content: Content, width: int) -> None:
    try:
        _require(1 <= len(content.text.encode()) <= limits.MAX_TEXT_BYTES, "has a text of no length that is accepted")
        _require(len(content.metadata_json.encode()) <= limits.MAX_METADATA_BYTES, "has metadata that are too long")
    except UnicodeEncodeError as error:
        raise refused("has a text that is not UTF-8") from error
    names.name(FIELD, content.session, limits.MAX_SESSION_BYTES, required=False)
    names.name(FIELD, content.role, limits.MAX_ROLE_BYTES, required=False)
    parse_object(content.metadata_json, FIELD)
    _require(content.time_us is None or _is_time(content.time_us), "has a time that is none")
    if content.vector:
        _require(len(content.vector) == 4 * width, "has a vector of another width")
        norm = float(np.linalg.norm(np.frombuffer(content.vector, "<f4").astype(np.float64)))
        _require(abs(norm - 1) < 1e-3, "has a vector that is not of unit length")


def _is_number(value: object) -> bool:
    return type(value) is int and 0 < value <= MOST_NUMBER


def _is_time(value: object) -> bool:
    return type(value) is int and limits.MIN_TIME_US <= value <= limits.MAX_TIME_US


def _require(ok: bool, why: str) -> None:
    if not ok:
        raise refused(why)
