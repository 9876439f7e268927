"""Snapshots in views.db: immutable chunks, a manifest for each generation, and the swap between them."""

import sqlite3

from memsvc.errors import DataLossError, MemsvcError
from memsvc.failpoints import hit
from memsvc.store.codec import Manifest, digest
from memsvc.store.refusals import blob_changed, blob_missing
from memsvc.store.retention import left
from memsvc.store.sqlite.faults import is_damage
from memsvc.store.sqlite.schema import CHUNK_PAD_BYTES
from memsvc.store.types import LoadedSnapshot, Retention, Snapshot


def save(
    connection: sqlite3.Connection, uid: str, snapshot: Snapshot, keep: Retention, drop_from: int | None = None
) -> None:
    """Write the blobs that are new and swap the manifest in, in one transaction; drop what is not to keep.

    Raises:
        FailedPreconditionError: a blob was left out that the store does not hold, or is not what it holds.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        held = dict(connection.execute("SELECT name, digest FROM blobs WHERE uid = ?", (uid,)).fetchall())
        digests = {}
        for name, data in snapshot.blobs.items():
            if name not in held:
                held[name] = _add(connection, uid, name, data)
                hit("snapshot.chunk")
            elif data is not None and digest(data) != held[name]:
                raise blob_changed(name)
            digests[name] = held[name]
        manifest = Manifest(uid=uid, seq=snapshot.seq, meta=snapshot.meta, blobs=digests)
        before = _seqs(connection, uid)
        _drop_generation(connection, uid, snapshot.seq)
        connection.execute(
            "INSERT INTO snapshots VALUES (?, ?, ?)", (uid, snapshot.seq, _put(connection, manifest.encode()))
        )
        hit("trim.before")
        dropped = {*before, snapshot.seq} - left(before, snapshot.seq, keep, drop_from)
        for seq in dropped:
            _drop_generation(connection, uid, seq)
        if dropped or snapshot.seq in before:  # the sweep reads every manifest, and there may be many
            _sweep(connection, uid)
        hit("trim.after")
        hit("snapshot.swap.before")
        connection.execute("COMMIT")
        hit("snapshot.swap.after")
    except (sqlite3.Error, MemsvcError):
        _rollback(connection)
        raise


def load(connection: sqlite3.Connection, uid: str, before_seq: int | None = None) -> LoadedSnapshot:
    """Return the newest snapshot whose every checksum holds, and say which do not."""
    connection.execute("BEGIN")  # a save beside us must not take blobs away while we read
    try:
        corrupt: list[str] = []
        for seq in _seqs(connection, uid):
            if before_seq is not None and seq >= before_seq:
                continue
            try:
                return LoadedSnapshot(snapshot=_verified(connection, uid, seq), corrupt=tuple(corrupt))
            except DataLossError as error:
                corrupt.append(f"the snapshot at seq {seq}: {error}")
        return LoadedSnapshot(snapshot=None, corrupt=tuple(corrupt))
    except sqlite3.Error as error:
        if not is_damage(error):
            raise
        return LoadedSnapshot(snapshot=None, corrupt=(*corrupt, f"the snapshots' database: {error}"))
    finally:
        _rollback(connection)


def drop_damaged(connection: sqlite3.Connection, uid: str) -> None:
    """Drop every generation that does not verify, and the blobs that are wrong, so that a save writes them again."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        for seq in _seqs(connection, uid):
            try:
                _verified(connection, uid, seq)
            except DataLossError:
                _drop_generation(connection, uid, seq)
        _sweep(connection, uid)
        connection.execute("COMMIT")
    except sqlite3.Error:
        _rollback(connection)
        raise


def drop_from(connection: sqlite3.Connection, uid: str, first_seq: int = 0) -> tuple[int, ...]:
    """Drop every snapshot of a tenant at or after that seq, and the blobs that only they name; return their seqs."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        dropped = tuple(seq for seq in _seqs(connection, uid) if seq >= first_seq)
        for seq in dropped:
            _drop_generation(connection, uid, seq)
        _sweep(connection, uid)
        connection.execute("COMMIT")
    except sqlite3.Error:
        _rollback(connection)
        raise
    return dropped


def seqs(connection: sqlite3.Connection) -> dict[str, int]:
    """Return the seq of the newest snapshot of every tenant that has one, by uid."""
    return dict(connection.execute("SELECT uid, max(seq) FROM snapshots GROUP BY uid").fetchall())


def tenants(connection: sqlite3.Connection) -> set[str]:
    """Return the uids that anything is kept for."""
    return {uid for (uid,) in connection.execute("SELECT uid FROM snapshots UNION SELECT uid FROM blobs").fetchall()}


def count(connection: sqlite3.Connection, uid: str) -> tuple[int, int]:
    """Return how many snapshots a tenant has, and about the bytes of views.db that they take."""
    return len(_seqs(connection, uid)), size(connection, uid)


def size(connection: sqlite3.Connection, uid: str) -> int:
    """Return about how many bytes of views.db are the tenant's."""
    (blobs, count) = connection.execute("SELECT total(size), count(*) FROM blobs WHERE uid = ?", (uid,)).fetchone()
    return int(blobs) + CHUNK_PAD_BYTES * (int(count) + len(_seqs(connection, uid)))


def _seqs(connection: sqlite3.Connection, uid: str) -> list[int]:
    rows = connection.execute("SELECT seq FROM snapshots WHERE uid = ? ORDER BY seq DESC", (uid,)).fetchall()
    return [seq for (seq,) in rows]


def _add(connection: sqlite3.Connection, uid: str, name: str, data: bytes | None) -> bytes:
    """Write a blob; return its checksum."""
    if data is None:
        raise blob_missing(name)
    checksum = digest(data)
    row = (uid, name, _put(connection, data), checksum, len(data))
    connection.execute("INSERT INTO blobs VALUES (?, ?, ?, ?, ?)", row)
    return checksum


def _put(connection: sqlite3.Connection, data: bytes) -> int:
    row: tuple[int] = connection.execute(
        "INSERT INTO chunks (pad, data) VALUES (zeroblob(?), ?) RETURNING no", (CHUNK_PAD_BYTES, data)
    ).fetchone()
    return row[0]


def _manifest(connection: sqlite3.Connection, uid: str, seq: int) -> Manifest:
    row = connection.execute(
        "SELECT c.data FROM snapshots s CROSS JOIN chunks c ON c.no = s.manifest WHERE s.uid = ? AND s.seq = ?",
        (uid, seq),
    ).fetchone()
    if row is None:
        raise DataLossError("its manifest is missing")
    try:
        manifest = Manifest.decode(row[0])
    except DataLossError as error:
        raise DataLossError(f"its manifest: {error}") from error
    if (manifest.uid, manifest.seq) != (uid, seq):
        raise DataLossError("its manifest is another snapshot's")
    return manifest


def _verified(connection: sqlite3.Connection, uid: str, seq: int) -> Snapshot:
    try:
        return _read(connection, uid, seq)
    except sqlite3.Error as error:
        if is_damage(error):
            raise DataLossError(str(error)) from error
        raise


def _read(connection: sqlite3.Connection, uid: str, seq: int) -> Snapshot:
    manifest = _manifest(connection, uid, seq)
    blobs: dict[str, bytes] = {}
    for name, checksum in manifest.blobs.items():
        row = connection.execute(
            "SELECT c.data FROM blobs b CROSS JOIN chunks c ON c.no = b.chunk WHERE b.uid = ? AND b.name = ?",
            (uid, name),
        ).fetchone()
        if row is None:
            raise DataLossError(f"blob {name} is missing")
        if digest(row[0]) != checksum:
            raise DataLossError(f"the checksum of blob {name} is wrong")
        blobs[name] = row[0]
    return Snapshot(seq=seq, meta=manifest.meta, blobs=blobs)


def _drop_generation(connection: sqlite3.Connection, uid: str, seq: int) -> None:
    key = (uid, seq)
    connection.execute("DELETE FROM chunks WHERE no = (SELECT manifest FROM snapshots WHERE uid = ? AND seq = ?)", key)
    connection.execute("DELETE FROM snapshots WHERE uid = ? AND seq = ?", key)


def _sweep(connection: sqlite3.Connection, uid: str) -> None:
    """Drop the blobs that no generation names, and first each generation whose manifest does not read."""
    named: set[str] = set()
    for seq in _seqs(connection, uid):
        try:
            named.update(_manifest(connection, uid, seq).blobs)
        except DataLossError:
            _drop_generation(connection, uid, seq)
    rows = connection.execute("SELECT name, chunk FROM blobs WHERE uid = ?", (uid,)).fetchall()
    for name, chunk in rows:
        if name not in named:
            connection.execute("DELETE FROM chunks WHERE no = ?", (chunk,))
            connection.execute("DELETE FROM blobs WHERE uid = ? AND name = ?", (uid, name))


def _rollback(connection: sqlite3.Connection) -> None:
    if connection.in_transaction:
        connection.execute("ROLLBACK")
