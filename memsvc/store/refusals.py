"""What a store says when it refuses, word for word the same in every store. Pure."""

from memsvc.errors import AlreadyExistsError, FailedPreconditionError, InvalidArgumentError, NotFoundError
from memsvc.store.types import EntryState


def no_tenant() -> NotFoundError:
    """Return what to raise for a tenant that does not live."""
    return NotFoundError("no such tenant", reason="TENANT_NOT_FOUND")


def tenant_exists() -> AlreadyExistsError:
    """Return what to raise for a name that a living tenant has."""
    return AlreadyExistsError("a tenant of that id exists", reason="TENANT_EXISTS")


def reused() -> FailedPreconditionError:
    """Return what to raise for a request_id that was used for something else."""
    return FailedPreconditionError(
        "request_id: it was used for another request within 24 hours; use a fresh one", reason="REQUEST_ID_REUSED"
    )


def credentials_changed() -> FailedPreconditionError:
    """Return what to raise for a change that rests on an older table of credentials."""
    return FailedPreconditionError("the credentials were changed meanwhile; try again", reason="CREDENTIALS_CHANGED")


def entry_exists(id: str, index: int) -> AlreadyExistsError:
    """Return what to raise for the entry of a batch whose id is known with other content."""
    return AlreadyExistsError(
        f"entries[{index}].id: an entry of that id exists with other content",
        reason="ENTRY_EXISTS",
        metadata={"id": id, "index": str(index)},
    )


def entry_forgotten(id: str, index: int) -> FailedPreconditionError:
    """Return what to raise for the entry of a batch whose id is forgotten."""
    return FailedPreconditionError(
        f"entries[{index}].id: an entry of that id was forgotten; it cannot be written again",
        reason="FORGOTTEN",
        metadata={"id": id, "index": str(index)},
    )


def unknown(id: str) -> NotFoundError:
    """Return what to raise for an id that was never known."""
    return NotFoundError("no such entry", reason="ENTRY_NOT_FOUND", metadata={"id": id})


def nothing_matches() -> NotFoundError:
    """Return what to raise for a Forget about nothing."""
    return NotFoundError("no entry matches", reason="ENTRY_NOT_FOUND")


def gone(id: str, state: EntryState | None) -> NotFoundError:
    """Return what to raise for the id of an entry in a state other than LIVE; of one that is forgotten there is none.

    In a copy, what is replaced by a revision that is not there is as deleted.
    """
    if state in (None, EntryState.FORGOTTEN):
        return forgotten(id)
    if state == EntryState.EXPIRED:
        return NotFoundError("the entry is expired", reason="EXPIRED", metadata={"id": id})
    return NotFoundError("the entry was deleted", reason="DELETED", metadata={"id": id})


def forgotten(id: str) -> NotFoundError:
    """Return what to raise for the id of an entry that was forgotten."""
    return NotFoundError("the entry was forgotten", reason="FORGOTTEN", metadata={"id": id})


def nothing_staged() -> NotFoundError:
    """Return what to raise for a uid under which nothing is staged."""
    return NotFoundError("nothing is staged under that uid", reason="TENANT_NOT_FOUND")


def does_not_follow(field: str) -> InvalidArgumentError:
    """Return what to raise for a record of a copy that does not follow the one before."""
    return InvalidArgumentError(field, "it does not follow the record before")


def forgets_what_is_there(field: str) -> InvalidArgumentError:
    """Return what to raise for a FORGET of a copy that is about an entry that is there."""
    return InvalidArgumentError(field, "an entry is there that it forgets")


def forgotten_is_there(field: str) -> InvalidArgumentError:
    """Return what to raise for a record of a copy with an entry that is forgotten."""
    return InvalidArgumentError(field, "an entry is there that is forgotten")


def twice(field: str) -> InvalidArgumentError:
    """Return what to raise for a record of a copy with an id that is there."""
    return InvalidArgumentError(field, "an id is there twice without an UPDATE")


def restore_pending() -> FailedPreconditionError:
    """Return what to raise where a tenant is parked already."""
    return FailedPreconditionError("a restore waits for its confirmation", reason="RESTORE_PENDING")


def none_parked() -> FailedPreconditionError:
    """Return what to raise where no tenant is parked."""
    return FailedPreconditionError("no restore waits for its confirmation", reason="NO_RESTORE_PENDING")


def blob_changed(name: str) -> FailedPreconditionError:
    """Return what to raise for a snapshot with other bytes under a name that the store holds."""
    return FailedPreconditionError(
        "a snapshot has other bytes for a blob that the store holds: blobs are immutable",
        reason="BLOB_CHANGED",
        metadata={"blob": name},
    )


def blob_missing(name: str) -> FailedPreconditionError:
    """Return what to raise for a snapshot that leaves out what the store does not hold."""
    return FailedPreconditionError(
        "a snapshot left out the bytes of a blob that the store does not hold",
        reason="BLOB_MISSING",
        metadata={"blob": name},
    )
