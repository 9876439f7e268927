"""What each method needs: one table, which docs/security.md shows. A method that is not in it is refused."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Any

from memsvc.auth.grants import Right
from memsvc.auth.principal import Principal
from memsvc.errors import PermissionDeniedError


class Scope(Enum):
    """Where a right has to reach."""

    NAMED = "the tenants that the request names"
    SOME = "some tenant: the method itself keeps to what is in reach"


@dataclass(frozen=True, slots=True)
class Rule:
    """What one method needs."""

    rights: tuple[Right, ...]
    """All of them."""
    tenant: str = "tenant"
    """Path of the field that names the tenant; in a stream, of its first message. Empty where there is none."""
    also: tuple[str, ...] = ()
    """Paths of fields that name another tenant, where they are set."""
    scope: Scope = Scope.NAMED
    audited: bool = False
    """Whether the audit log has a line for each call, and not for refused ones alone."""

    def check(self, principal: Principal, message: Any, *, first: bool) -> None:
        """Return if the principal may send this message. Nothing but the message is looked at.

        Args:
            principal: who sends it.
            message: the request, or one of a stream's.
            first: whether it is the only or the first one.

        Raises:
            PermissionDeniedError: it may not; the same for whatever is there and for what is not.
        """
        self.check_rights(principal)
        for tenant in self._named(message, first=first):
            if not all(principal.may(right, tenant) for right in self.rights):
                raise denied()

    def check_rights(self, principal: Principal) -> None:
        """Return if the principal has the rights somewhere: known before anything is sent.

        Raises:
            PermissionDeniedError: it has not.
        """
        if not all(map(principal.holds, self.rights)):
            raise denied()

    def _named(self, message: Any, *, first: bool) -> Iterator[str]:
        """Yield the tenants that a message names; of the first also that it names none."""
        if self.tenant:
            tenant = at(message, self.tenant)
            if tenant or (first and self.scope is Scope.NAMED):
                yield tenant
        for path in self.also:
            if other := at(message, path):
                yield other


def at(message: Any, path: str) -> str:
    """Return the string at a path of a message; one that is not set is empty."""
    for name in path.split("."):
        message = getattr(message, name)
    return str(message)


def denied() -> PermissionDeniedError:
    """Return what to raise for whatever is out of reach, always the same."""
    return PermissionDeniedError("the credential does not reach so far")


_READ, _WRITE, _ADMIN = (Right.READ,), (Right.WRITE,), (Right.ADMIN,)
_KEYS = Rule(_ADMIN, tenant="", scope=Scope.SOME, audited=True)

RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "/memsvc.v1.MemoryService/Write": Rule(_WRITE),
        "/memsvc.v1.MemoryService/WriteStream": Rule(_WRITE, tenant="open.tenant"),
        "/memsvc.v1.MemoryService/Recall": Rule(_READ),
        "/memsvc.v1.MemoryService/GetEntry": Rule(_READ),
        "/memsvc.v1.MemoryService/ListEntries": Rule(_READ),
        "/memsvc.v1.MemoryService/UpdateEntry": Rule(_WRITE),
        "/memsvc.v1.MemoryService/DeleteEntry": Rule(_WRITE),
        "/memsvc.v1.MemoryService/Forget": Rule(_WRITE, audited=True),
        "/memsvc.v1.MemoryService/GetErasure": Rule(_WRITE),
        "/memsvc.v1.MemoryService/Feedback": Rule(_WRITE),
        # With `remember` it writes, and asks for that right itself.
        "/memsvc.v1.GenerateService/Generate": Rule(_READ),
        "/memsvc.v1.TenantService/CreateTenant": Rule(_ADMIN, tenant="tenant.tenant", audited=True),
        "/memsvc.v1.TenantService/GetTenant": Rule(_READ),
        "/memsvc.v1.TenantService/ListTenants": Rule(_READ, tenant="", scope=Scope.SOME),
        "/memsvc.v1.TenantService/DeleteTenant": Rule(_ADMIN, audited=True),
        "/memsvc.v1.TenantService/UpdateTenant": Rule(_ADMIN, tenant="tenant.tenant", audited=True),
        "/memsvc.v1.TenantService/HotRestart": Rule(_ADMIN, audited=True),
        "/memsvc.v1.TenantService/WatchTenant": Rule(_READ),
        "/memsvc.v1.TenantService/VerifyTenant": Rule(_READ),
        # Who restores under another name, or exports, takes the text elsewhere.
        "/memsvc.v1.TenantService/RestoreTenant": Rule((Right.READ, Right.ADMIN), also=("as_tenant",), audited=True),
        "/memsvc.v1.TenantService/ConfirmRestore": Rule(_ADMIN, audited=True),
        "/memsvc.v1.TenantService/UndoRestore": Rule(_ADMIN, audited=True),
        "/memsvc.v1.TenantService/ExportTenant": Rule((Right.READ, Right.ADMIN), audited=True),
        # Without a name the file's counts, which only whoever reads the file can check.
        "/memsvc.v1.TenantService/ImportTenant": Rule(
            (Right.WRITE, Right.ADMIN), tenant="as_tenant", scope=Scope.SOME, audited=True
        ),
        "/memsvc.v1.AuthService/CreateKey": _KEYS,
        "/memsvc.v1.AuthService/ListKeys": Rule(_ADMIN, tenant="", scope=Scope.SOME),
        "/memsvc.v1.AuthService/RotateKey": _KEYS,
        "/memsvc.v1.AuthService/RevokeKey": _KEYS,
    }
)
"""By a method's full name."""
