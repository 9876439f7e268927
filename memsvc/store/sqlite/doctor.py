"""A look at a data directory from outside, also while a server uses it: nothing in it is written."""

import fcntl
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from memsvc.errors import InvalidArgumentError, UnavailableError
from memsvc.store.finding import Finding
from memsvc.store.sqlite.database import WAL_KEPT_BYTES, pragma_int
from memsvc.store.sqlite.faults import is_damage
from memsvc.store.sqlite.lock import LOCK
from memsvc.store.sqlite.schema import FORMAT, LOG, VIEWS, Database

LONG_WAL_BYTES = 4 * WAL_KEPT_BYTES
"""A write-ahead log this long is not copied into its database as it should be."""
LITTLE_ROOM_BYTES = 256 * 1024 * 1024


def examine(directory: Path) -> list[Finding]:
    """Look at a data directory. Takes seconds for each gigabyte, for all of it is read.

    Raises:
        InvalidArgumentError: there is no such directory.
        UnavailableError: it cannot be read.
    """
    if not directory.is_dir():
        raise InvalidArgumentError("store", f"there is no directory {directory}")
    try:
        return [_holder(directory), _room(directory), *_database(directory, LOG), *_database(directory, VIEWS)]
    except OSError as error:
        raise UnavailableError(f"the data directory {directory} cannot be read: {error.strerror}") from error


def _holder(directory: Path) -> Finding:
    found = "no process"
    try:
        fd = os.open(directory / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return Finding(name="in use by", found=found)
    try:
        # Let go at once: a server that starts in this very moment would be refused.
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        found = f"process {os.pread(fd, 32, 0).decode('ascii', 'replace').strip() or '(unknown)'}"
    finally:
        os.close(fd)
    return Finding(name="in use by", found=found)


def _room(directory: Path) -> Finding:
    free = shutil.disk_usage(directory).free
    little = free < LITTLE_ROOM_BYTES
    advice = "free some room: a full disk takes no entry" if little else ""
    return Finding(name="free on its disk", found=f"{free} bytes", ok=not little, advice=advice)


def _database(directory: Path, database: Database) -> Iterator[Finding]:
    path, name = directory / database.name, database.name
    if not path.exists():
        lost = database is LOG and (directory / VIEWS.name).exists()
        advice = "restore the data directory from a backup" if lost else "the server makes it"
        yield Finding(name=name, found="not there", ok=not lost, advice=advice)
        return
    wal = path.with_name(f"{name}-wal")
    wal_bytes = wal.stat().st_size if wal.exists() else 0
    yield Finding(name=f"{name} bytes", found=str(path.stat().st_size))
    yield Finding(
        name=f"{name}-wal bytes",
        found=str(wal_bytes),
        ok=wal_bytes < LONG_WAL_BYTES,
        advice="" if wal_bytes < LONG_WAL_BYTES else "start the server anew: it empties it",
    )
    # Without a write-ahead log nobody has it open, and SQLite must not make one.
    manner = "mode=ro" if wal.exists() else "mode=ro&immutable=1"
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path.resolve()))}?{manner}", uri=True)) as connection:
            yield from _contents(connection, database)
    except sqlite3.Error as error:
        advice = _cure(database) if is_damage(error) else "look at it as the user that the server runs as"
        yield Finding(name=f"{name} contents", found=str(error), ok=False, advice=advice)


def _contents(connection: sqlite3.Connection, database: Database) -> Iterator[Finding]:
    name = database.name
    ours, version = pragma_int(connection, "application_id"), pragma_int(connection, "user_version")
    if ours != database.application_id:
        yield Finding(name=f"{name} format", found="not ours", ok=False, advice="give memsvc a directory of its own")
        return
    known = version <= FORMAT
    advice = "" if known else f"this version of memsvc reads up to {FORMAT}: use a newer one"
    yield Finding(name=f"{name} format", found=str(version), ok=known, advice=advice)
    if not known:
        return
    (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    yield Finding(
        name=f"{name} contents", found=found, ok=found == "ok", advice="" if found == "ok" else _cure(database)
    )
    if found == "ok" and database is LOG:
        yield from _tenants(connection)


def _tenants(connection: sqlite3.Connection) -> Iterator[Finding]:
    (tenants,) = connection.execute("SELECT count(*) FROM living").fetchone()
    (erasing,) = connection.execute("SELECT count(*) FROM erasures WHERE done = 0").fetchone()
    (condemned,) = connection.execute(
        "SELECT count(*) FROM tenants WHERE uid IS NOT NULL AND config IS NULL"
    ).fetchone()
    yield Finding(name="tenants", found=str(tenants))
    yield Finding(name="erasures not done", found=str(erasing), advice="a server goes on with them" if erasing else "")
    yield Finding(
        name="deleted tenants not wholly gone",
        found=str(condemned),
        advice="the next start of a server goes on with them" if condemned else "",
    )


def _cure(database: Database) -> str:
    if database is VIEWS:
        return "stop the server, delete views.db and start it again: views are made from the log"
    return "restore the data directory from a backup"
