"""How much a tenant and a principal may use: the `quotas` of the server's settings."""

from collections.abc import Mapping
from typing import Annotated, Self, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, Field

Rate: TypeAlias = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count: TypeAlias = Annotated[int, Field(ge=0)]

T = TypeVar("T")


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Limits(_Table):
    """What each principal may use; 0 is no limit."""

    requests_per_s: Rate = 10_000
    """Calls, and messages of a stream."""
    bytes_per_s: Rate = 256 << 20
    """Of requests: text, metadata, vectors. A token of English text is about four of them."""
    tokens_per_s: Rate = 0
    """Of what is written, as the encoder counts them; those of a text are known once it is encoded."""
    generated_tokens_per_s: Rate = 0
    """Of answers."""
    streams: Count = 1024
    """That are open at once."""

    def but(self, override: "Override | None") -> Self:
        """Return the same with what an override says."""
        return self if override is None else self.model_copy(update=override.model_dump(exclude_none=True))


class TenantLimits(Limits):
    """What each tenant may use, and hold; 0 is no limit."""

    streams: Count = 256
    """That are open at once."""
    entries: Count = 0
    """That recall can return."""
    bytes: Count = 0
    """That its log takes in the store: text, metadata, and what goes with every entry."""


class Override(_Table):
    """Limits of some principals in place of everyone's; those that are not given stay everyone's."""

    requests_per_s: Rate | None = None
    bytes_per_s: Rate | None = None
    tokens_per_s: Rate | None = None
    generated_tokens_per_s: Rate | None = None
    streams: Count | None = None


class TenantOverride(Override):
    """Limits of some tenants in place of everyone's; those that are not given stay everyone's."""

    entries: Count | None = None
    bytes: Count | None = None


class QuotaConfig(_Table):
    """All quotas of a server."""

    burst_s: Annotated[float, Field(gt=0, le=3600)] = 2.0
    """Seconds' worth of a rate that whoever was quiet may use at once."""
    tenant: TenantLimits = TenantLimits()
    principal: Limits = Limits()
    tenants: dict[str, TenantOverride] = {}
    """By id, or by how ids begin, followed by `*`."""
    principals: dict[str, Override] = {}
    """By name, or by how names begin, followed by `*`."""

    def of_tenant(self, id: str) -> TenantLimits:
        """Return the limits of one tenant."""
        return self.tenant.but(_of(self.tenants, id))

    def of_principal(self, name: str) -> Limits:
        """Return the limits of one principal."""
        return self.principal.but(_of(self.principals, name))


def _of(table: Mapping[str, T], name: str) -> T | None:
    """Return what a table says of a name: under the name itself, else under the longest beginning of it."""
    if name in table:
        return table[name]
    beginnings = (key for key in table if key.endswith("*") and name.startswith(key[:-1]))
    longest = max(beginnings, key=len, default=None)
    return None if longest is None else table[longest]
