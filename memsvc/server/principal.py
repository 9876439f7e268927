"""Who makes the call under way."""

from contextvars import ContextVar

import structlog

from memsvc.auth.principal import ANYONE, Principal

__all__ = ["Principal", "become", "counted", "current"]

_CURRENT: ContextVar[Principal] = ContextVar("memsvc_principal", default=ANYONE)


def current() -> Principal:
    """Return who makes the call that this code runs for; `anyone`, who may do all, where nobody is asked."""
    return _CURRENT.get()


def counted() -> str:
    """Return for whom quotas count the call under way; empty where nobody is asked who calls."""
    principal = current()
    return "" if principal is ANYONE else principal.name


def become(principal: Principal) -> None:
    """Let the rest of this call be this principal's, in logs too. gRPC runs each call in a context of its own."""
    _CURRENT.set(principal)
    structlog.contextvars.bind_contextvars(principal=principal.name)
