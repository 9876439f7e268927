"""The requests of the last 24 hours, so that a retry does nothing twice: parts of operations on a transaction."""

from memsvc.store.redis.rows import decode_outcome, encode_outcome
from memsvc.store.redis.transaction import Cell, Transaction
from memsvc.store.refusals import reused
from memsvc.store.requests import REQUEST_US, Outcome, Request

KEPT_MS = 25 * 3600 * 1000
"""When Redis drops one by itself: an hour after it counts no more, for clocks that differ."""


def request_cells(tx: Transaction, request: Request) -> list[Cell]:
    """Return what is read to know a request again."""
    return [(tx.keys.request(request.request_id), None)] if request.request_id else []


def outcome(tx: Transaction, request: Request) -> Outcome | None:
    """Return what came of this request, if it is remembered.

    Raises:
        FailedPreconditionError: its request_id was used for something else.
    """
    if not request.request_id:
        return None
    data = tx.get(tx.keys.request(request.request_id))
    if data is None:
        return None
    operation, digest, came = decode_outcome(data)
    if came.at_us <= tx.now_us - REQUEST_US:
        return None
    if operation != request.operation or (request.digest is not None and digest != request.digest):
        raise reused()
    return came


def remember(tx: Transaction, request: Request, outcome: Outcome) -> None:
    """Keep what came of a request."""
    if request.request_id:
        data = encode_outcome(request.operation, request.digest, outcome)
        tx.set(tx.keys.request(request.request_id), data, expire_ms=KEPT_MS)
