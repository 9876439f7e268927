"""Who makes the call under way."""

from contextvars import ContextVar
from dataclasses import dataclass

__all__ = ["Principal", "become", "current"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who calls."""

    name: str
    """For logs and quotas. Never a secret."""


_CURRENT: ContextVar[Principal | None] = ContextVar("memsvc_principal", default=None)


def current() -> Principal | None:
    """Return who makes the call that this code runs for; None where nobody is asked."""
    return _CURRENT.get()


def become(principal: Principal) -> None:
    """Let the rest of this call be this principal's. gRPC runs each call in a context of its own."""
    _CURRENT.set(principal)
