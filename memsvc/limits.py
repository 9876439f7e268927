"""The limits of the contract: the same in every deployment, so that data moves between them."""

import unicodedata

from memsvc.errors import InvalidArgumentError

MAX_ID_BYTES = 256
MAX_SESSION_BYTES = 256
MAX_ROLE_BYTES = 64
MAX_TEXT_BYTES = 64 * 1024
MAX_METADATA_BYTES = 16 * 1024
MAX_REQUEST_ID_BYTES = 64
MAX_BATCH_ENTRIES = 1_000
MAX_MESSAGE_BYTES = 4 * 1024 * 1024
MAX_K = 1_000
MAX_NEIGHBOURS = 10
MAX_CONTEXT_TOKENS = 128 * 1024
MAX_FORGET_IDS = 10_000
MAX_PAGE_SIZE = 1_000


def name(field: str, value: str, limit: int = MAX_ID_BYTES, *, required: bool = True) -> str:
    """Check an id or label: so many bytes of UTF-8 at most, no control characters."""
    if required and not value:
        raise InvalidArgumentError(field, "must not be empty")
    if len(value.encode()) > limit:
        raise InvalidArgumentError(field, f"must be at most {limit} bytes of UTF-8")
    if any(unicodedata.category(c) == "Cc" for c in value):
        raise InvalidArgumentError(field, "must not contain control characters")
    return value
