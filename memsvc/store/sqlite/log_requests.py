"""The requests of the last 24 hours, so that a retry does nothing twice."""

import sqlite3

from memsvc.store.refusals import reused
from memsvc.store.requests import REQUEST_US, Outcome, Request


def outcome(connection: sqlite3.Connection, request: Request, now_us: int) -> Outcome | None:
    """Return what came of this request, if it is remembered.

    Raises:
        FailedPreconditionError: its request_id was used for something else.
    """
    if not request.request_id:
        return None
    connection.execute("DELETE FROM requests WHERE at_us <= ?", (now_us - REQUEST_US,))
    row = connection.execute(
        "SELECT operation, digest, uid, at_us, seq, destroyed FROM requests WHERE request_id = ?", (request.request_id,)
    ).fetchone()
    if row is None:
        return None
    operation, digest, *came = row
    if operation != request.operation or (request.digest is not None and digest != request.digest):
        raise reused()
    return Outcome(*came)


def remember(connection: sqlite3.Connection, request: Request, outcome: Outcome) -> None:
    """Keep what came of a request."""
    if request.request_id:
        connection.execute("INSERT INTO requests VALUES (?, ?, ?, ?, ?, ?, ?)", (*request, *outcome))
