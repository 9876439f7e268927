"""What SQLite's failures mean to a caller."""

import sqlite3

from memsvc.errors import DataLossError, MemsvcError, UnavailableError

_DAMAGED = ("SQLITE_CORRUPT", "SQLITE_NOTADB")


def is_damage(error: sqlite3.Error) -> bool:
    """Whether the bytes of the database itself are wrong."""
    return _name(error).startswith(_DAMAGED)


def translate(error: sqlite3.Error) -> MemsvcError:
    """Return what to raise for an error of SQLite. Its messages name tables and files, never a tenant's text."""
    name = _name(error)
    if is_damage(error):
        return DataLossError(f"the log's database is damaged ({error}); restore the data directory from a backup")
    if name == "SQLITE_FULL":
        return UnavailableError(
            "the store is full; nothing was written; free some room and try again", reason="STORE_FULL"
        )
    return UnavailableError(f"the store cannot serve now: {error} ({name})", reason="STORE_UNAVAILABLE")


def translate_views(error: sqlite3.Error) -> MemsvcError:
    """Return what to raise for an error of views.db, which can be had again."""
    if is_damage(error):
        return UnavailableError(
            f"the snapshots' database is damaged ({error}); stop the server, delete views.db and start it again: "
            "views are made from the log",
            reason="VIEWS_DAMAGED",
        )
    return translate(error)


def closed() -> UnavailableError:
    """Return what to raise once the store is closed."""
    return UnavailableError("the store is closed", reason="STORE_CLOSED")


def _name(error: sqlite3.Error) -> str:
    # Errors that the sqlite3 module raises by itself carry no code.
    return getattr(error, "sqlite_errorname", "") or type(error).__name__
