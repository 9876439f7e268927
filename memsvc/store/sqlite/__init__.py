"""The embedded store: SQLite in one data directory."""

from memsvc.store.sqlite.store import SqliteOptions, SqliteStore

__all__ = ["SqliteOptions", "SqliteStore"]
