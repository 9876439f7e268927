"""What a tenant knows of an entry's id: its first revision and its newest, or that it is forgotten."""

import sqlite3
from typing import NamedTuple

from memsvc.store.hashes import id_hash
from memsvc.store.refusals import forgotten, gone, unknown
from memsvc.store.types import EntryState


class Living(NamedTuple):
    """The living entry of an id."""

    number: int
    learn: bool


def find_living(connection: sqlite3.Connection, no: int, id_key: bytes, id: str) -> Living:
    """Return the living entry of an id.

    Raises:
        NotFoundError: there is none; the reason is ENTRY_NOT_FOUND, DELETED, EXPIRED or FORGOTTEN.
    """
    row = connection.execute(
        "SELECT e.number, e.learn, e.state FROM ids i LEFT JOIN entries e ON e.tenant = i.tenant "
        "AND e.number = i.current WHERE i.tenant = ? AND i.id_hash = ?",
        (no, id_hash(id_key, id)),
    ).fetchone()
    if row is None:
        raise unknown(id)
    number, learn, state = row
    if state != EntryState.LIVE:
        raise gone(id, state)
    return Living(number, bool(learn))


def revisions(connection: sqlite3.Connection, no: int, id_key: bytes, id: str) -> list[tuple[int, int]]:
    """Return number and seq of every revision of an id, the newest first.

    Raises:
        NotFoundError: the id was never known, or is forgotten.
    """
    rows = connection.execute(
        "WITH RECURSIVE revisions (number, seq, previous) AS ("
        "SELECT e.number, e.seq, e.previous FROM ids i LEFT JOIN entries e ON e.tenant = i.tenant "
        "AND e.number = i.current WHERE i.tenant = :no AND i.id_hash = :hash UNION ALL "
        "SELECT e.number, e.seq, e.previous FROM revisions r CROSS JOIN entries e ON e.tenant = :no "
        "AND e.number = r.previous) SELECT number, seq FROM revisions",
        {"no": no, "hash": id_hash(id_key, id)},
    ).fetchall()
    if not rows:
        raise unknown(id)
    if rows[0][0] is None:
        raise forgotten(id)
    return rows
