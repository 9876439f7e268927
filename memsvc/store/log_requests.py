"""The requests of the last 24 hours, so that a retry does nothing twice."""

import sqlite3
from enum import IntEnum
from typing import NamedTuple

from memsvc.errors import FailedPreconditionError

REQUEST_US = 24 * 3600 * 1_000_000
"""How long a request_id is remembered."""


class Operation(IntEnum):
    """What a request_id was used for. Numbers are part of the format."""

    CREATE = 1
    DELETE = 2
    APPEND = 3
    UPDATE = 4
    DELETE_ENTRY = 5
    FORGET = 6
    FEEDBACK = 7
    PUBLISH = 8
    REPLACE = 9


class Request(NamedTuple):
    """A request as it is remembered."""

    request_id: bytes
    """The caller's; inside a tenant a keyed hash of it, so that no tenant meets another's. Empty: not remembered."""
    operation: Operation
    digest: bytes | None
    """Of what was asked; None where that is not known any more, and any is right."""


class Outcome(NamedTuple):
    """What came of a request the first time."""

    uid: str
    at_us: int
    seq: int
    destroyed: int


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


def reused() -> FailedPreconditionError:
    """Return what to raise for a request_id that was used for something else."""
    return FailedPreconditionError(
        "request_id: it was used for another request within 24 hours; use a fresh one", reason="REQUEST_ID_REUSED"
    )
