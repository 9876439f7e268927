"""Records about older entries: each function is one operation inside the committer's transaction."""

import sqlite3
import uuid
from collections.abc import Sequence

from memsvc.store.hashes import asked_hash, content_hash_left, id_hash, request_hash
from memsvc.store.refusals import forgotten, nothing_matches, reused
from memsvc.store.requests import Operation, Outcome, Request
from memsvc.store.sqlite.log_destroy import retire
from memsvc.store.sqlite.log_end import End, find_end, insert
from memsvc.store.sqlite.log_ids import find_living, revisions
from memsvc.store.sqlite.log_read import erasure_of, record_at
from memsvc.store.sqlite.log_requests import outcome, remember
from memsvc.store.types import Changed, EntryState, Erasure, Payload, Record, RecordKind, StoredEntry


def update(connection: sqlite3.Connection, *, uid: str, payload: Payload, request_id: str, now_us: int) -> Changed:
    """Append an UPDATE with a new revision of the living entry of that id.

    Raises:
        NotFoundError: no such tenant, or no living entry of that id.
        FailedPreconditionError: the request_id was used for something else.
    """
    end = find_end(connection, uid, now_us)
    request = _request(end, uid, request_id, Operation.UPDATE, payload.id)
    if (came := outcome(connection, request, now_us)) is not None:
        _check_same_content(connection, end, came.seq, payload)
        return _again(connection, end, came)
    old = find_living(connection, end.no, end.id_key, payload.id)
    entry = StoredEntry(number=end.number, seq=end.seq, commit_us=end.commit_us, payload=payload)
    record = _record(end, RecordKind.UPDATE, about=(old.number,), entries=(entry,))
    insert(connection, end.no, record, old.number)
    connection.execute(
        "UPDATE ids SET current = ? WHERE tenant = ? AND id_hash = ?",
        (end.number, end.no, id_hash(end.id_key, payload.id)),
    )
    destroyed = retire(connection, end, old.number, EntryState.REPLACED, learn=old.learn)
    remember(connection, request, Outcome(uid, now_us, end.seq, destroyed))
    return Changed(record=record, destroyed=destroyed)


def delete(connection: sqlite3.Connection, *, uid: str, id: str, request_id: str, now_us: int) -> Changed:
    """Append a DELETE of the living entry of that id.

    Raises:
        NotFoundError: no such tenant, or no living entry of that id.
        FailedPreconditionError: the request_id was used for something else.
    """
    end = find_end(connection, uid, now_us)
    request = _request(end, uid, request_id, Operation.DELETE_ENTRY, id)
    if (came := outcome(connection, request, now_us)) is not None:
        return _again(connection, end, came)
    old = find_living(connection, end.no, end.id_key, id)
    record = _record(end, RecordKind.DELETE, about=(old.number,))
    insert(connection, end.no, record)
    destroyed = retire(connection, end, old.number, EntryState.DELETED, learn=old.learn)
    remember(connection, request, Outcome(uid, now_us, end.seq, destroyed))
    return Changed(record=record, destroyed=destroyed)


def feedback(
    connection: sqlite3.Connection, *, uid: str, ids: Sequence[str], body: bytes, request_id: str, now_us: int
) -> Changed:
    """Append a FEEDBACK about the living entries of these ids.

    Raises:
        NotFoundError: no such tenant, or no living entry of one of the ids.
        FailedPreconditionError: the request_id was used for something else.
    """
    end = find_end(connection, uid, now_us)
    unique = sorted(set(ids))
    request = _request(end, uid, request_id, Operation.FEEDBACK, *unique, body=body)
    if (came := outcome(connection, request, now_us)) is not None:
        return _again(connection, end, came)
    about = tuple(sorted(find_living(connection, end.no, end.id_key, id).number for id in unique))
    record = _record(end, RecordKind.FEEDBACK, body=body, about=about)
    insert(connection, end.no, record)
    remember(connection, request, Outcome(uid, now_us, end.seq, 0))
    return Changed(record=record, destroyed=0)


def forget(
    connection: sqlite3.Connection, *, uid: str, ids: Sequence[str], request_id: str, asked: str, now_us: int
) -> tuple[Erasure, Record]:
    """Append a FORGET about every revision of these ids, and start an erasure.

    Raises:
        NotFoundError: no such tenant, or an id was never known, or is forgotten already.
        FailedPreconditionError: the request_id was used for something else.
    """
    end = find_end(connection, uid, now_us)
    unique = list(dict.fromkeys(ids))
    request = _request(end, uid, request_id, Operation.FORGET, *([asked] if asked else sorted(unique)))
    if (came := outcome(connection, request, now_us)) is not None:
        return erasure_of(connection, uid, came.seq), record_at(connection, end.no, came.seq)
    if not unique:
        raise nothing_matches()
    found = [revision for id in unique for revision in revisions(connection, end.no, end.id_key, id)]
    about = tuple(sorted(number for number, _ in found))
    connection.executemany(
        "UPDATE entries SET state = ? WHERE tenant = ? AND number = ?",
        [(EntryState.FORGOTTEN, end.no, number) for number in about],
    )
    connection.executemany(
        "UPDATE ids SET first = NULL, current = NULL WHERE tenant = ? AND id_hash = ?",
        [(end.no, id_hash(end.id_key, id)) for id in unique],
    )
    record = _record(end, RecordKind.FORGET, about=about)
    insert(connection, end.no, record)
    erasure = Erasure(
        operation=uuid.uuid4().hex,
        uid=uid,
        seq=end.seq,
        entries=len(about),
        # What is about an entry comes after what holds it.
        first_seq=min((seq for _, seq in found), default=end.seq),
    )
    connection.execute(
        "INSERT INTO erasures VALUES (?, ?, ?, ?, ?, 0, x'')",
        (end.no, erasure.seq, erasure.operation, erasure.entries, erasure.first_seq),
    )
    remember(connection, request, Outcome(uid, now_us, end.seq, 0))
    return erasure, record


def finish_erasure(connection: sqlite3.Connection, *, operation: str, receipt: bytes, now_us: int) -> None:
    """Mark an erasure as done; the first receipt stands. One that went with its tenant is left alone."""
    connection.execute(
        "UPDATE erasures SET done = 1, receipt = ? WHERE operation = ? AND done = 0", (receipt, operation)
    )


def _request(end: End, uid: str, request_id: str, operation: Operation, *ids: str, body: bytes = b"") -> Request:
    digest = asked_hash(end.id_key, body, *(id.encode() for id in ids))
    return Request(request_hash(end.id_key, uid, request_id), operation, digest)


def _record(
    end: End, kind: RecordKind, *, about: tuple[int, ...], body: bytes = b"", entries: tuple[StoredEntry, ...] = ()
) -> Record:
    return Record(seq=end.seq, commit_us=end.commit_us, kind=kind, body=body, entries=entries, about=about)


def _again(connection: sqlite3.Connection, end: End, came: Outcome) -> Changed:
    return Changed(record=record_at(connection, end.no, came.seq), destroyed=came.destroyed, repeated=True)


def _check_same_content(connection: sqlite3.Connection, end: End, seq: int, payload: Payload) -> None:
    """Compare with the revision itself: a hash of content lies nowhere else.

    Raises:
        FailedPreconditionError: it is another.
        NotFoundError: it is forgotten, and nothing to compare with may be kept.
    """
    row = connection.execute(
        "SELECT p.content_hash, p.data IS NULL FROM records r CROSS JOIN entries e ON e.tenant = r.tenant "
        "AND e.number = r.first CROSS JOIN payloads p ON p.no = e.payload "
        "WHERE r.tenant = ? AND r.seq = ? AND e.state != ?",
        (end.no, seq, EntryState.FORGOTTEN),
    ).fetchone()
    if row is None:
        raise forgotten(payload.id)
    given = payload.content_hash
    if row[0] != (content_hash_left(end.id_key, given) if row[1] else given):
        raise reused()
