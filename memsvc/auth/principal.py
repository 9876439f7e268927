"""Who calls."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from memsvc.auth.grants import Grant, Right, covers, spans
from memsvc.store.types import Span


def _for_good() -> None:
    """Stand as long as the process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who calls, and how far that reaches."""

    name: str
    """For logs and quotas: the kind of credential and what names it, for example `key:1f…`. Never a secret."""
    grants: tuple[Grant, ...]
    check_standing: Callable[[], None] = field(default=_for_good, repr=False, compare=False)
    """Returns while the credential is valid, and raises UnauthenticatedError once it is revoked or expired."""

    def may(self, right: Right, tenant: str) -> bool:
        """Whether a right reaches a tenant, be there one of that id or not."""
        id = tenant.encode()
        return any(right in grant.rights and grant.span.holds(id) for grant in self.grants)

    def holds(self, right: Right) -> bool:
        """Whether a right reaches any id at all."""
        return any(right in grant.rights for grant in self.grants)

    def spans(self, right: Right) -> tuple[Span, ...]:
        """Return where a right reaches."""
        return spans(self.grants, right)

    def administers(self, grants: Iterable[Grant]) -> bool:
        """Whether the right to administer reaches all that these grants do."""
        where = self.spans(Right.ADMIN)
        return all(covers(where, grant.span) for grant in grants)

    def outranks(self, grants: Iterable[Grant]) -> bool:
        """Whether every right of these grants is this principal's too."""
        where = {right: self.spans(right) for right in Right}
        return all(covers(where[right], grant.span) for grant in grants for right in grant.rights)


ANYONE = Principal(name="anyone", grants=(Grant("*", frozenset(Right)),))
"""Who calls where nobody is asked."""
