"""Ids and labels: what every name has to be."""

import random
import re
import unicodedata

from memsvc import limits
from memsvc.errors import InvalidArgumentError

_CALL_ID = re.compile(r"[\w.:/+=-]{1,128}", re.ASCII)


def call_id(given: str) -> str:
    """Return how a caller names its call, if that can stand in any log; else a name for it."""
    # It tells calls apart, no more.
    return given if _CALL_ID.fullmatch(given) else f"{random.getrandbits(64):016x}"


def is_name(value: str) -> bool:
    """Whether an id is one; what is not may be anything, a text even, and stands in no log."""
    try:
        name("", value)
    except InvalidArgumentError:
        return False
    return True


def name(field: str, value: str, limit: int = limits.MAX_ID_BYTES, *, required: bool = True) -> str:
    """Check an id or label: so many bytes of UTF-8 at most, no control characters."""
    if required and not value:
        raise InvalidArgumentError(field, "must not be empty")
    try:
        size = len(value.encode())
    except UnicodeEncodeError as error:  # a half of a surrogate pair, as JSON can name it
        raise InvalidArgumentError(field, "must be UTF-8") from error
    if size > limit:
        raise InvalidArgumentError(field, f"must be at most {limit} bytes of UTF-8")
    if any(unicodedata.category(c) == "Cc" for c in value):
        raise InvalidArgumentError(field, "must not contain control characters")
    return value
