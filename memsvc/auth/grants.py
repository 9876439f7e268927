"""How far a credential reaches: patterns of tenants' ids, each with rights. Pure.

foo      the tenant foo
foo/*    every tenant whose id begins with foo/: foo/bar and foo/bar/baz, never foo nor foobar
*        every tenant
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from memsvc import names
from memsvc.errors import InvalidArgumentError
from memsvc.store.types import Span

MAX_GRANTS = 64
"""Of one credential: each is a range to look through in a listing."""


class Right(StrEnum):
    """What may be done. None of them implies another."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Grant:
    """A pattern and the rights on the tenants that match it.

    Raises:
        InvalidArgumentError: the pattern is none, or there is no right.
    """

    tenant: str
    rights: frozenset[Right]
    span: Span = field(init=False, repr=False, compare=False)
    """The ids that match. A pattern is a range, so that matching and listing cannot differ."""

    def __post_init__(self) -> None:
        if not self.rights:
            raise InvalidArgumentError("rights", "must have at least one of read, write and admin")
        object.__setattr__(self, "span", _span(names.name("tenant", self.tenant)))

    def __str__(self) -> str:
        return f"{self.tenant}={','.join(right for right in Right if right in self.rights)}"


def _span(pattern: str) -> Span:
    if pattern == "*":
        return Span(b"")
    whole = pattern.removesuffix("/*")
    if "*" in whole:
        raise InvalidArgumentError("tenant", "a * stands alone or after the last /, for example team/*")
    if whole != pattern:
        # Not the id that ends with the slash; "0" comes after it.
        return Span(f"{whole}/\0".encode(), f"{whole}0".encode())
    return Span(pattern.encode(), f"{pattern}\0".encode())


def rights(field: str, values: Iterable[str]) -> frozenset[Right]:
    """Read rights by their names.

    Raises:
        InvalidArgumentError: one is none; names the field.
    """
    found = set()
    for value in values:
        if value not in set(Right):
            raise InvalidArgumentError(field, f"{value!r} is none of read, write and admin")
        found.add(Right(value))
    return frozenset(found)


def limited(field: str, grants: Sequence[Grant]) -> tuple[Grant, ...]:
    """Check a credential's grants: 1 to 64.

    Raises:
        InvalidArgumentError: there are none, or too many; names the field.
    """
    if not 1 <= len(grants) <= MAX_GRANTS:
        raise InvalidArgumentError(field, f"has {len(grants)}; must have 1 to {MAX_GRANTS}")
    return tuple(grants)


def spans(grants: Iterable[Grant], right: Right) -> tuple[Span, ...]:
    """Return where a right holds: ranges of ids, in order, none touching another."""
    merged: list[Span] = []
    held = (grant.span for grant in grants if right in grant.rights)
    for span in sorted(held, key=lambda span: span.first):
        last = merged[-1] if merged else None
        if last is None or (last.end is not None and last.end < span.first):
            merged.append(span)
        elif last.end is not None and (span.end is None or span.end > last.end):
            merged[-1] = Span(last.first, span.end)
    return tuple(merged)


def covers(outer: Iterable[Span], inner: Span) -> bool:
    """Whether one of these ranges holds all of another."""
    return any(
        span.first <= inner.first and (span.end is None or (inner.end is not None and inner.end <= span.end))
        for span in outer
    )
