"""What Redis's failures mean to a caller."""

from redis.exceptions import (
    ClusterError,
    ConnectionError,  # Redis's own
    OutOfMemoryError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
    TimeoutError,  # Redis's own
    TryAgainError,
)

from memsvc.errors import MemsvcError, UnavailableError
from memsvc.store.redis.fence import NotOwnerError

TROUBLE = (RedisError, RedisClusterException)
"""What redis-py raises: a cluster that cannot be reached is no RedisError."""
UNANSWERED = (ConnectionError, TimeoutError, RedisClusterException, ClusterError, TryAgainError)
"""No answer came, or a cluster is being put in order: to be asked again."""


def translate(error: Exception) -> MemsvcError:
    """Return what to raise for an error of Redis. Its messages name commands and keys, never a tenant's text."""
    text = str(error)
    if isinstance(error, OutOfMemoryError) or text.startswith("OOM") or "OOM command" in text:
        return UnavailableError(
            "Redis is full (maxmemory); nothing was written; give it room and try again", reason="STORE_FULL"
        )
    if isinstance(error, ReadOnlyError) or "READONLY" in text:
        return NotOwnerError()
    return UnavailableError(f"Redis cannot serve now: {_short(text)}", reason="STORE_UNAVAILABLE")


def closed() -> UnavailableError:
    """Return what to raise once the store is closed."""
    return UnavailableError("the store is closed", reason="STORE_CLOSED")


def _short(text: str) -> str:
    # A script's error repeats the arguments of no command, but says where in the script it came from.
    return text.partition(" script:")[0][:200]
