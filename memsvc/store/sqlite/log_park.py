"""A tenant parked behind the one that took its place: each function is one operation in the committer's transaction."""

import sqlite3
from typing import NamedTuple

from memsvc.store.hashes import plain_hash
from memsvc.store.refusals import no_tenant, none_parked, restore_pending
from memsvc.store.requests import Operation, Outcome, Request
from memsvc.store.sqlite.log_destroy import condemn
from memsvc.store.sqlite.log_names import give_name, take_name
from memsvc.store.sqlite.log_read import published_as
from memsvc.store.sqlite.log_requests import outcome, remember
from memsvc.store.sqlite.log_stage import find_staged
from memsvc.store.types import TenantRow


class Unparked(NamedTuple):
    """A tenant that has its name again."""

    row: TenantRow
    condemned: str | None
    """The uid of the one that was in front; None once nothing is left of it."""


class Parked(NamedTuple):
    """Two tenants, one behind the other."""

    front: int
    name: str
    """Of the front."""
    no: int
    uid: str
    created_us: int
    config: bytes | None
    """None once it is condemned."""


def replace(connection: sqlite3.Connection, *, uid: str, staged: str, request_id: str, now_us: int) -> TenantRow:
    """Give a staged tenant the name of a living one, and park that behind it.

    Raises:
        FailedPreconditionError: another is parked behind the living one, or the request_id was used for something else.
        NotFoundError: no such tenants, or what this request made is gone since.
    """
    request = Request(request_id.encode(), Operation.REPLACE, plain_hash(uid.encode()))
    if (came := outcome(connection, request, now_us)) is not None:
        return published_as(connection, came.uid)
    row = connection.execute("SELECT no, name FROM living WHERE uid = ?", (uid,)).fetchone()
    if row is None:
        raise no_tenant()
    no, name = row[0], row[1].decode()
    new = find_staged(connection, staged)
    if (found := _find_parked(connection, uid)) is not None and found.config is not None:
        raise restore_pending()
    take_name(connection, no)
    give_name(connection, new.no, name)
    connection.execute("INSERT INTO parked VALUES (?, ?)", (no, new.no))
    remember(connection, request, Outcome(staged, now_us, new.seq, 0))
    return TenantRow(uid=staged, tenant=name, created_us=new.created_us, config=new.config)


def unpark(connection: sqlite3.Connection, *, uid: str, request_id: str, now_us: int) -> Unparked:
    """Give the parked tenant its name again, condemn the one in front of it, and put that behind until it is purged.

    Raises:
        FailedPreconditionError: none is parked, or the request_id was used for something else.
        NotFoundError: what this request gave its name back to is gone since.
    """
    found = _find_parked(connection, uid)
    lives = connection.execute("SELECT 1 FROM living WHERE uid = ?", (uid,)).fetchone() is not None
    # A retry comes with the uid of the one that is back, or of the one that was in front, which may be gone.
    back = found.uid if found is not None and found.config is not None else uid
    request = Request(request_id.encode(), Operation.UNPARK, plain_hash(back.encode()) if lives else None)
    if (came := outcome(connection, request, now_us)) is not None:
        row, left = published_as(connection, came.uid), _find_parked(connection, came.uid)
        return Unparked(row, left.uid if left is not None and left.config is None else None)
    if found is None or found.config is None:
        raise none_parked()
    condemn(connection, found.front)
    connection.execute("DELETE FROM parked WHERE tenant = ?", (found.no,))
    connection.execute("INSERT INTO parked VALUES (?, ?)", (found.front, found.no))
    give_name(connection, found.no, found.name)
    remember(connection, request, Outcome(found.uid, now_us, 0, 0))
    row = TenantRow(uid=found.uid, tenant=found.name, created_us=found.created_us, config=found.config)
    return Unparked(row, uid)


def condemn_parked(connection: sqlite3.Connection, *, uid: str, request_id: str, now_us: int) -> str:
    """Condemn the tenant that is parked behind a living one. Return its uid; again until it is purged.

    Raises:
        FailedPreconditionError: none is parked, or the request_id was used for something else.
    """
    request = Request(request_id.encode(), Operation.CONFIRM, plain_hash(uid.encode()))
    if (came := outcome(connection, request, now_us)) is not None:
        return came.uid
    if (found := _find_parked(connection, uid)) is None:
        raise none_parked()
    condemn(connection, found.no)
    remember(connection, request, Outcome(found.uid, now_us, 0, 0))
    return found.uid


def parked(connection: sqlite3.Connection, uid: str) -> str | None:
    """Return the uid of the tenant that is parked behind a living one."""
    found = _find_parked(connection, uid)
    return None if found is None or found.config is None else found.uid


def _find_parked(connection: sqlite3.Connection, uid: str) -> Parked | None:
    # One that is condemned may still be there when the next is parked.
    row = connection.execute(
        "SELECT l.no, l.name, t.no, t.uid, t.created_us, t.config FROM living l CROSS JOIN parked p ON p.front = l.no "
        "CROSS JOIN tenants t ON t.no = p.tenant WHERE l.uid = ? ORDER BY t.config IS NULL",
        (uid,),
    ).fetchone()
    if row is None:
        return None
    front, name, *tenant = row
    return Parked(front, name.decode(), *tenant)
