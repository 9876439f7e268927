"""The names of living tenants. A row is only ever added or emptied: see `schema`."""

import sqlite3

from memsvc.store.hashes import tenant_hash
from memsvc.store.refusals import tenant_exists


def check_free(connection: sqlite3.Connection, tenant: str) -> None:
    """Return if no tenant of that id lives.

    Raises:
        AlreadyExistsError: one does.
    """
    if connection.execute("SELECT 1 FROM names WHERE name_hash = ?", (tenant_hash(tenant),)).fetchone():
        raise tenant_exists()


def give_name(connection: sqlite3.Connection, no: int, tenant: str) -> None:
    """Make a tenant a living one of that id, which is free."""
    row = (no, tenant.encode(), tenant_hash(tenant))
    connection.execute("INSERT INTO names (tenant, name, name_hash) VALUES (?, ?, ?)", row)


def take_name(connection: sqlite3.Connection, no: int) -> None:
    """Take a tenant's name, so that it is gone for every reader and its id is free."""
    connection.execute("UPDATE names SET tenant = NULL, name = NULL, name_hash = NULL WHERE tenant = ?", (no,))
