"""What expires: one operation inside the committer's transaction."""

import sqlite3
from typing import NamedTuple

from memsvc.store.sqlite.log_destroy import retire
from memsvc.store.sqlite.log_end import find_end, insert
from memsvc.store.types import EntryState, Record, RecordKind


class Expired(NamedTuple):
    """What expired."""

    records: list[tuple[str, Record]]
    """Each with its tenant's uid."""
    destroyed: int
    """Bytes of payload that were destroyed with it."""


def expire(connection: sqlite3.Connection, *, limit: int, now_us: int) -> Expired:
    """Append an EXPIRE to every living tenant of which entries are due, about up to `limit` entries in all."""
    due: dict[str, list[tuple[int, bool]]] = {}
    rows = connection.execute(
        "SELECT uid, number, learn FROM due WHERE expire_us <= ? ORDER BY expire_us LIMIT ?", (now_us, limit)
    ).fetchall()
    for uid, number, learn in rows:
        due.setdefault(uid, []).append((number, bool(learn)))
    records, destroyed = [], 0
    for uid, entries in due.items():
        end = find_end(connection, uid, now_us)
        about = tuple(sorted(number for number, _ in entries))
        record = Record(seq=end.seq, commit_us=end.commit_us, kind=RecordKind.EXPIRE, about=about)
        insert(connection, end.no, record)
        for number, learn in entries:
            destroyed += retire(connection, end, number, EntryState.EXPIRED, learn=learn)
        records.append((uid, record))
    return Expired(records, destroyed)
