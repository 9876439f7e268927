"""What tenants and principals use, against what they may: requests, bytes and tokens a second, and streams.

Each process counts for itself, in memory: quotas are the operator's policy and no part of a tenant's log.
"""

import math
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple

from memsvc.errors import ResourceExhaustedError
from memsvc.server.bucket import Bucket
from memsvc.server.quota_config import Limits, QuotaConfig, TenantLimits

REASON = "QUOTA_EXCEEDED"
MOST_SUBJECTS = 10_000
"""Tenants, and principals, whose use is kept in mind. Whoever was not heard of for longest is forgotten: that is known
to be full again, or costs as many requests as there are others."""
RATES: Mapping[str, str] = MappingProxyType(
    {
        "requests_per_s": "requests",
        "bytes_per_s": "bytes",
        "tokens_per_s": "written tokens",
        "generated_tokens_per_s": "generated tokens",
    }
)
"""Quotas by the second, and what they count."""
ENTRIES_PER_REQUEST = 100
"""What may answer with more entries counts as so many requests more: it costs as much as they do."""
Use = Mapping[str, float]
"""What is to be used of each quota by the second."""
STREAM_RETRY_S = 1.0
"""Nobody knows when a stream will end."""


class Scope(StrEnum):
    """Whose quota it is."""

    TENANT = "tenant"
    PRINCIPAL = "principal"


def request(size: int, entries: int = 0, *, writes: bool = False) -> Use:
    """Return what a request of so many bytes uses, whose answer may have so many entries.

    One that writes text uses tokens that are not known yet; it may be made when those before it are paid for.
    """
    use = {"requests_per_s": max(1, math.ceil(entries / ENTRIES_PER_REQUEST)), "bytes_per_s": size}
    return {**use, **written(0)} if writes else use


def written(tokens: int) -> Use:
    """Return what so many tokens of text that was written use."""
    return {"tokens_per_s": tokens}


def generated(tokens: int) -> Use:
    """Return what so many tokens of an answer use."""
    return {"generated_tokens_per_s": tokens}


class _Charge(NamedTuple):
    """Something that is about to be used."""

    scope: Scope
    quota: str
    limit: float
    """A second."""
    bucket: Bucket
    amount: float


class _Subject:
    """What one tenant, or principal, uses."""

    __slots__ = ("buckets", "limits")

    def __init__(self, limits: Limits, burst_s: float, now: float) -> None:
        self.buckets: dict[str, Bucket] = {}
        self.change(limits, burst_s, now)

    def change(self, limits: Limits, burst_s: float, now: float) -> None:
        """Have other limits from now on."""
        self.limits = limits
        for quota in RATES:
            rate: float = getattr(limits, quota)
            if rate == 0:
                self.buckets.pop(quota, None)
            elif quota in self.buckets:
                self.buckets[quota].change(rate, rate * burst_s, now)
            else:
                self.buckets[quota] = Bucket(rate, rate * burst_s, now)


class Quotas:
    """Everyone's use. Lives on the event loop.

    Args:
        config: how much it may be.
        clock: seconds, monotone.
    """

    def __init__(self, config: QuotaConfig, clock: Callable[[], float] = time.monotonic) -> None:
        self._config, self._clock = config, clock
        self._subjects: dict[Scope, OrderedDict[str, _Subject]] = {scope: OrderedDict() for scope in Scope}
        self._streams: dict[Scope, Counter[str]] = {scope: Counter() for scope in Scope}

    def change(self, config: QuotaConfig) -> None:
        """Have other limits from now on. What was used counts still, and streams that are open stay so."""
        self._config = config
        now = self._clock()
        for scope, subjects in self._subjects.items():
            for name, subject in subjects.items():
                subject.change(self._limits(scope, name), config.burst_s, now)

    def of_tenant(self, tenant: str) -> TenantLimits:
        """Return the limits of a tenant."""
        return self._config.of_tenant(tenant)

    # --- a second -------------------------------------------------------------------------------------------------

    def wait(self, tenant: str, principal: str, use: Use) -> float:
        """Use something if it may be; else return the seconds to wait before asking again.

        Args:
            tenant: whom it is about; empty for none.
            principal: who asks for it; empty for nobody.
            use: `request`, `written` or `generated`.
        """
        refusal = self._use(tenant, principal, use)
        return 0.0 if refusal is None else refusal.retry_after or 0.0

    def admit(self, tenant: str, principal: str, use: Use) -> None:
        """Use something; the arguments are those of `wait`.

        Raises:
            ResourceExhaustedError: a quota is used up, and nothing of the others was used.
        """
        if (refusal := self._use(tenant, principal, use)) is not None:
            raise refusal

    def charge(self, tenant: str, principal: str, use: Use) -> None:
        """Use what is there already: what passes the quota is paid for by what follows."""
        now = self._clock()
        for charge in self._charges(tenant, principal, use, now):
            charge.bucket.take(charge.amount, now)

    def limits(self, tenant: str, principal: str, use: Use) -> bool:
        """Whether any quota is about such a use; the arguments are those of `wait`."""
        return any(True for _ in self._charges(tenant, principal, use, self._clock()))

    def _use(self, tenant: str, principal: str, use: Use) -> ResourceExhaustedError | None:
        now = self._clock()
        charges = list(self._charges(tenant, principal, use, now))
        waits = [(charge.bucket.wait(charge.amount, now), charge) for charge in charges]
        longest, slowest = max(waits, key=lambda each: each[0], default=(0.0, None))
        if slowest is not None and longest > 0:
            return _used_up(slowest, longest)
        for charge in charges:
            charge.bucket.take(charge.amount, now)
        return None

    def _charges(self, tenant: str, principal: str, use: Use, now: float) -> Iterator[_Charge]:
        for scope, name in ((Scope.TENANT, tenant), (Scope.PRINCIPAL, principal)):
            if not name:
                continue
            subject = self._subject(scope, name, now)
            for quota, amount in use.items():
                if (bucket := subject.buckets.get(quota)) is not None:
                    yield _Charge(scope, quota, getattr(subject.limits, quota), bucket, amount)

    def _subject(self, scope: Scope, name: str, now: float) -> _Subject:
        subjects = self._subjects[scope]
        subject = subjects.get(name)
        if subject is None:
            subject = subjects[name] = _Subject(self._limits(scope, name), self._config.burst_s, now)
            if len(subjects) > MOST_SUBJECTS:
                subjects.popitem(last=False)
        subjects.move_to_end(name)
        return subject

    def _limits(self, scope: Scope, name: str) -> Limits:
        return self._config.of_tenant(name) if scope is Scope.TENANT else self._config.of_principal(name)

    # --- at once --------------------------------------------------------------------------------------------------

    def open_stream(self, scope: Scope, name: str) -> None:
        """Count a stream in; `close_stream` counts it out.

        Raises:
            ResourceExhaustedError: as many as may be are open, and this one is not counted.
        """
        streams, limit = self._streams[scope], self._limits(scope, name).streams
        if limit and streams[name] >= limit:
            raise ResourceExhaustedError(
                f"the {scope} has {limit} streams open, as many as it may",
                retry_after=STREAM_RETRY_S,
                reason=REASON,
                metadata={"quota": "streams", "scope": scope.value, "limit": str(limit)},
            )
        streams[name] += 1

    def close_stream(self, scope: Scope, name: str) -> None:
        """Count a stream out."""
        streams = self._streams[scope]
        streams[name] -= 1
        if not streams[name]:
            del streams[name]

    @property
    def kept(self) -> int:
        """Names that are kept in mind."""
        return sum(len(self._subjects[scope]) + len(self._streams[scope]) for scope in Scope)


def _used_up(charge: _Charge, wait: float) -> ResourceExhaustedError:
    what = RATES[charge.quota]
    return ResourceExhaustedError(
        f"the {charge.scope} has used up its {charge.limit:,.15g} {what} a second; try again in {wait:.3g} s",
        retry_after=wait,
        reason=REASON,
        metadata={"quota": charge.quota, "scope": charge.scope.value, "limit": f"{charge.limit:.15g}"},
    )
