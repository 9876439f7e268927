"""The Python client of memsvc: `MemoryClient`, and `AsyncMemoryClient` for asyncio."""

from memsvc_client._retry import RetryPolicy
from memsvc_client.aio import AsyncMemoryClient
from memsvc_client.client import MemoryClient
from memsvc_client.errors import (
    AlreadyExistsError,
    DataLossError,
    DeadlineExceededError,
    FailedPreconditionError,
    InvalidArgumentError,
    MemsvcError,
    NotFoundError,
    OutOfRangeError,
    ResourceExhaustedError,
    UnavailableError,
)
from memsvc_client.types import (
    Entry,
    Hit,
    MemoryConfig,
    Recall,
    Receipt,
    ScoreParts,
    Span,
    StoredEntry,
    Tenant,
    TenantStats,
)

__all__ = [
    "AlreadyExistsError",
    "AsyncMemoryClient",
    "DataLossError",
    "DeadlineExceededError",
    "Entry",
    "FailedPreconditionError",
    "Hit",
    "InvalidArgumentError",
    "MemoryClient",
    "MemoryConfig",
    "MemsvcError",
    "NotFoundError",
    "OutOfRangeError",
    "Recall",
    "Receipt",
    "ResourceExhaustedError",
    "RetryPolicy",
    "ScoreParts",
    "Span",
    "StoredEntry",
    "Tenant",
    "TenantStats",
    "UnavailableError",
]
