"""What a store promises: two Protocols, one for the log and one for snapshots of views.

The log is the truth. Losing every snapshot loses nothing but time. `tests/conformance/` holds what every store must
pass.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol


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


class EntryState(IntEnum):
    """What became of an entry. Numbers are part of the format."""

    LIVE = 0
    REPLACED = 1
    """By a newer revision."""
    DELETED = 2
    FORGOTTEN = 3
    """Its payload is destroyed, or about to be."""


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
    """Opaque to the store."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """What a caller wrote as one entry. Id, hash and data live in one row and die together."""

    id: str
    content_hash: bytes
    data: bytes
    learn: bool = True
    """Whether the text changes weights. One that does not is destroyed as soon as it is replaced or deleted."""


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
    """Numbers of the older entries that an UPDATE, DELETE or FORGET is about, ascending."""

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


class Log(Protocol):
    """Tenants and their logs. Every mutation is durable when its call returns."""

    async def create_tenant(self, tenant: str, config: bytes, body: bytes, request_id: str) -> TenantRow:
        """Create a tenant whose record 1 is a CREATE with this body.

        A request_id seen within 24 hours returns the same row again.

        Raises:
            AlreadyExistsError: a tenant of that id lives.
            FailedPreconditionError: the request_id was used for something else.
        """
        ...

    async def get_tenant(self, tenant: str) -> TenantRow | None:
        """Return the living tenant of that id."""
        ...

    async def list_tenants(self, after: str, limit: int) -> list[TenantRow]:
        """Return up to `limit` tenants whose id is greater than `after`, in byte order of the UTF-8 ids."""
        ...

    async def delete_tenant(self, uid: str, request_id: str) -> None:
        """Delete the tenant's log, payloads and snapshots.

        A request_id seen within 24 hours does nothing.

        Raises:
            NotFoundError: no such tenant, and the request_id is new.
        """
        ...

    async def find_deleted(self, tenant: str, request_id: str) -> bool:
        """Whether this request_id deleted a tenant of that id within 24 hours."""
        ...

    async def append(
        self,
        uid: str,
        kind: RecordKind,
        body: bytes = b"",
        payloads: Sequence[Payload] = (),
        *,
        request_id: str = "",
    ) -> Appended:
        """Append one record. Ids are checked, numbers, seq and commit time assigned, in the same transaction.

        A payload whose id is known, in the log or earlier in this batch, with the content hash of its first revision is
        skipped, whatever became of the entry since, unless it is forgotten.

        A request_id that was used for the same kind and body within 24 hours appends nothing: `record` is None and
        `seqs` holds the one seq of the first time. It is for records without payloads.

        Raises:
            AlreadyExistsError: an id is known with another content hash; nothing was appended; metadata has `id` and
                `index`.
            FailedPreconditionError: an id is forgotten (reason FORGOTTEN; metadata as above), or the request_id was
                used for something else (REQUEST_ID_REUSED); nothing was appended.
            NotFoundError: no such tenant.
            UnavailableError: the store cannot write (a full disk, say); nothing was appended.
        """
        ...

    async def update(self, uid: str, payload: Payload, request_id: str) -> Changed:
        """Append an UPDATE: a new revision of the living entry of that id, under a new number.

        Of a revision with `learn` false the payload is destroyed in the same transaction. A request_id seen within 24
        hours with the same content returns the same record again, unless the entry is forgotten since.

        Raises:
            NotFoundError: there is no living entry of that id; reason ENTRY_NOT_FOUND, DELETED or FORGOTTEN.
            FailedPreconditionError: the request_id was used for something else.
            UnavailableError: the store cannot write; nothing was appended.
        """
        ...

    async def delete(self, uid: str, id: str, request_id: str) -> Changed:
        """Append a DELETE of the living entry of that id.

        Its id stays known, so that no retry of its Write brings it back. The payload is destroyed at once if `learn` is
        false. A request_id seen within 24 hours returns the same record again.

        Raises:
            NotFoundError: there is no living entry of that id; reason ENTRY_NOT_FOUND, DELETED or FORGOTTEN.
            FailedPreconditionError: the request_id was used for something else.
            UnavailableError: the store cannot write; nothing was appended.
        """
        ...

    async def forget(self, uid: str, ids: Sequence[str], request_id: str, asked: str = "") -> tuple[Erasure, Record]:
        """Append a FORGET about every revision of these ids, deleted ones too, and start an erasure.

        From then on the entries are in no answer and their ids are refused; the payloads are there until `erase`.
        A request_id seen within 24 hours with the same ids returns the same erasure again; with `asked`, what the
        caller asked in its own words, that counts instead of the ids that it comes to now.

        Raises:
            NotFoundError: there are no ids; or one was never known, or is forgotten already: metadata has `id`.
                Nothing was appended.
            FailedPreconditionError: the request_id was used for something else.
            UnavailableError: the store cannot write; nothing was appended.
        """
        ...

    async def erase(self, uid: str, first_seq: int) -> int:
        """Destroy the payloads of all forgotten entries of a tenant, and every snapshot at or after `first_seq`.

        When it returns, their text, ids, sessions, metadata and hashes are in no file any more; a keyed hash of each id
        stays, which refuses it. Returns the bytes of payload destroyed. To repeat it does no harm.

        Raises:
            UnavailableError: it could not be finished; repeat it.
        """
        ...

    async def finish_erasure(self, operation: str, receipt: bytes) -> None:
        """Mark an erasure as done."""
        ...

    async def erasure(self, operation: str) -> Erasure | None:
        """Return an erasure by its name."""
        ...

    async def unfinished_erasures(self) -> list[Erasure]:
        """Return every living tenant's erasures that are not done, in the order of their records."""
        ...

    async def head(self, uid: str) -> int:
        """Return the seq of the last record.

        Raises:
            NotFoundError: no such tenant.
        """
        ...

    async def heads(self) -> dict[str, int]:
        """Return the seq of the last record of every tenant, by uid."""
        ...

    async def read(self, uid: str, after_seq: int, max_bytes: int) -> list[Record]:
        """Return whole records after that seq, in order, at least one if there is one, and about max_bytes at most.

        Entries whose payload is destroyed are left out of their records; those of replaced and deleted entries are not.
        """
        ...

    async def entries(self, uid: str, numbers: Sequence[int]) -> list[StoredEntry]:
        """Return the living entries of those numbers, in the order asked."""
        ...

    async def entry_by_id(self, uid: str, id: str) -> StoredEntry | None:
        """Return the living entry of that id, None where it was never known.

        Raises:
            NotFoundError: it was deleted or forgotten; the reason is DELETED or FORGOTTEN.
        """
        ...

    async def scan(self, uid: str, after_number: int, limit: int) -> list[StoredEntry]:
        """Return up to `limit` living entries with greater numbers, in order."""
        ...


class Snapshots(Protocol):
    """Saved views: two generations for each tenant, swapped atomically."""

    async def save(self, uid: str, snapshot: Snapshot) -> None:
        """Save a snapshot; drop all but the two newest, and every blob that neither names.

        Raises:
            UnavailableError: the store cannot write; the older snapshots stand.
        """
        ...

    async def load(self, uid: str, before_seq: int | None = None) -> LoadedSnapshot:
        """Return the newest snapshot whose every checksum holds; with before_seq, of those before that record."""
        ...

    async def seqs(self) -> dict[str, int]:
        """Return the seq of the newest snapshot of every tenant that has one, by uid."""
        ...


class Store(Log, Snapshots, Protocol):
    """A log and its snapshots, as one deployment keeps them."""

    async def check(self) -> None:
        """Return if the store can be read and written.

        Raises:
            UnavailableError: it cannot, and why.
        """
        ...

    async def size(self, uid: str) -> int:
        """Return about how many bytes the tenant takes on disk."""
        ...

    async def close(self) -> None:
        """Finish what is under way and release the store."""
        ...
