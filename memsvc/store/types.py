"""The nouns of a store: tenants, records, entries, snapshots, erasures."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import NamedTuple


class RecordKind(IntEnum):
    """The kinds of log record. Numbers are part of the format and are never reused."""

    CREATE = 1
    NUMERICS = 2
    WRITE = 3
    UPDATE = 4
    """One new revision, and about the one that it replaces."""
    DELETE = 5
    FORGET = 6
    CONFIGURE = 7
    RESTART = 8
    EXPIRE = 9
    FEEDBACK = 10


class EntryState(IntEnum):
    """What became of an entry. Numbers are part of the format."""

    LIVE = 0
    REPLACED = 1
    """By a newer revision."""
    DELETED = 2
    FORGOTTEN = 3
    """Its payload is destroyed, or about to be."""
    EXPIRED = 4


class Retention(StrEnum):
    """Which snapshots are kept beside the two newest."""

    NONE = "none"
    LOG_SPACED = "log_spaced"
    """Of those whose distance from the newest lies between 2ⁿ and 2ⁿ⁺¹ records, the oldest."""
    ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantRow:
    """A tenant as the store knows it."""

    uid: str
    """Assigned at creation; another incarnation has another one."""
    tenant: str
    """The caller's id."""
    created_us: int
    """Microseconds since the epoch."""
    config: bytes
    """As of the last record that changed it; opaque to the store."""


class Span(NamedTuple):
    """A range of tenants' ids, as bytes of UTF-8."""

    first: bytes
    """The first that is in it."""
    end: bytes | None = None
    """The first that is not any more; None for none."""

    def holds(self, id: bytes) -> bool:
        """Whether an id lies in it."""
        return self.first <= id and (self.end is None or id < self.end)


ALL_TENANTS = (Span(b""),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """What a caller wrote as one entry. Id, hash and data live in one row and die together."""

    id: str
    content_hash: bytes
    data: bytes
    learn: bool = True
    """Whether the text changes weights. One that does not is destroyed once it is replaced, deleted or expired."""
    expire_us: int | None = None
    """When it expires, microseconds since the epoch; None for never."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEntry:
    """One entry as it lies in the log."""

    number: int
    """1, 2, 3 ... in a tenant; the only name that a record uses."""
    seq: int
    commit_us: int
    payload: Payload


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One log record; a WRITE carries its entries."""

    seq: int
    """1, 2, 3 ... in a tenant, without gaps."""
    commit_us: int
    """When it was appended; never less than the record before."""
    kind: RecordKind
    body: bytes = b""
    entries: tuple[StoredEntry, ...] = ()
    """Those whose payload is not destroyed."""
    about: tuple[int, ...] = ()
    """Numbers of the older entries that an UPDATE, DELETE, FORGET, EXPIRE or FEEDBACK is about, ascending."""

    @property
    def size(self) -> int:
        """Bytes of payload and body."""
        return len(self.body) + sum(len(e.payload.data) for e in self.entries)


@dataclass(frozen=True, slots=True, kw_only=True)
class Appended:
    """What an append did."""

    record: Record | None
    """None when every payload was known already."""
    seqs: tuple[int, ...]
    """Per payload, the record that holds it."""
    numbers: tuple[int, ...]
    """Per payload, its entry number."""
    skipped: tuple[bool, ...]
    """Per payload, whether it was known with equal content."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A saved view: it shortens the fold, nothing else.

    `blobs` are immutable and named; a name that the store holds already for this tenant is not written again, and its
    bytes may be left out (None) on save. On load every blob is there and verified.
    """

    seq: int
    meta: bytes
    blobs: Mapping[str, bytes | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedSnapshot:
    """The newest snapshot that verifies, and what had to be passed over to find it."""

    snapshot: Snapshot | None
    corrupt: tuple[str, ...] = ()
    """In words, one for each generation that failed its checksum."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """What a record about older entries did."""

    record: Record
    destroyed: int
    """Bytes of payload that were destroyed with it."""
    repeated: bool = False
    """Whether an equal request appended it before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Erasure:
    """An erasure as the store keeps it; it survives restarts."""

    operation: str
    """Its name, assigned by the store."""
    uid: str
    seq: int
    """Of the FORGET record."""
    entries: int
    """Entries that it erases, revisions counted one by one."""
    first_seq: int
    """The first record that held one of them, or was about one."""
    done: bool = False
    receipt: bytes = b""
    """What was found when it was done; opaque to the store."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Destroyed:
    """What an erasure destroyed."""

    bytes: int
    """Of payload."""
    files_pending: bool = False
    """Whether the store's own files still hold some of it, until it can write them anew."""
    snapshots: tuple[int, ...] = ()
    """The records that the snapshots were of that went with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What a tenant that is made of another one's records takes over beside them."""

    created_us: int
    config: bytes
    id_key: bytes
    """Of the keyed hashes of ids."""
    forgotten: tuple[bytes, ...]
    """The keyed hashes of the ids that stay refused, ascending."""


class ShardEvent(StrEnum):
    """What happened to a part of the deployment."""

    TAKEN = "taken"
    """This process serves its tenants from now on."""
    LOST = "lost"
    """It does not any more: another may."""
    WANTED = "wanted"
    """Another process should: release it once its tenants are saved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardChange:
    """One change of what a process serves."""

    shard: int
    event: ShardEvent
