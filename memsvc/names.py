"""Ids and labels: what every name has to be."""

import unicodedata

from memsvc import limits
from memsvc.errors import InvalidArgumentError


def name(field: str, value: str, limit: int = limits.MAX_ID_BYTES, *, required: bool = True) -> str:
    """Check an id or label: so many bytes of UTF-8 at most, no control characters."""
    if required and not value:
        raise InvalidArgumentError(field, "must not be empty")
    if len(value.encode()) > limit:
        raise InvalidArgumentError(field, f"must be at most {limit} bytes of UTF-8")
    if any(unicodedata.category(c) == "Cc" for c in value):
        raise InvalidArgumentError(field, "must not contain control characters")
    return value
