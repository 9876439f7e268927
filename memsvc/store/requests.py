"""What a store remembers of a request for 24 hours, so that a retry does nothing twice. Pure."""

from enum import IntEnum
from typing import NamedTuple

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
    UNPARK = 10
    CONFIRM = 11


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
