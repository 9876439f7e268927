"""What clients sent and were told, and what must therefore be there. Threads share it.

What was acknowledged is there once, under the seq that was told, in the order of its batch. What has no answer may be
there, once, or not. What was forgotten is not there.
"""

import random
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import NamedTuple

from memsvc_client import Receipt, StoredEntry

KINDS = (
    "acknowledged and lost",
    "stored twice",
    "out of order",
    "stored and never sent",
    "stored with another text",
    "forgotten and there",
    "one seq acknowledged twice",
    "seen to go back",
    "state other than the log's fold",
    "unexpected error",
    "without an answer long after the last fault",
)
"""Every way in which the promise may be broken."""

KEPT_DETAILS = 20


def text_of(id: str) -> str:
    """Return the one text that belongs to an id."""
    number = int(id.rpartition("/")[2])
    return f"entry {id} says {number * 7919 % 10007} and {number * 104729 % 99991}"


@dataclass
class _Journal:
    """Of one tenant."""

    sent: int = 0
    """Ids are numbered; so many were given out."""
    seq_of: dict[str, int] = field(default_factory=dict)
    """Of each acknowledged id."""
    batches: dict[int, tuple[str, ...]] = field(default_factory=dict)
    """Of each acknowledged seq, the ids in order."""
    forgetting: set[str] = field(default_factory=set)
    """Asked to be forgotten, and answered or not."""
    forgotten: set[str] = field(default_factory=set)
    head: int = 0
    """The greatest seq that any client was shown."""


class Expected(NamedTuple):
    """What was known of a tenant at a moment."""

    seq_of: Mapping[str, int]
    forgotten: frozenset[str]
    head: int


class Oracle:
    """The journal of all tenants, and the violations found.

    Attributes:
        violations: how many of each of `KINDS`.
        details: the first of them, in words.
    """

    def __init__(self, tenants: Sequence[str]) -> None:
        self._journals = {tenant: _Journal() for tenant in tenants}
        self._lock = threading.Lock()
        self.violations: Counter[str] = Counter()
        self.details: list[str] = []

    @property
    def acknowledged(self) -> int:
        """Entries acknowledged."""
        return sum(len(journal.seq_of) for journal in self._journals.values())

    @property
    def sent(self) -> int:
        """Entries sent."""
        return sum(journal.sent for journal in self._journals.values())

    def violated(self, kind: str, detail: str) -> None:
        """Note that the promise was broken."""
        with self._lock:
            self.violations[kind] += 1
            if len(self.details) < KEPT_DETAILS:
                self.details.append(f"{kind}: {detail}")

    def ids(self, tenant: str, count: int) -> list[str]:
        """Return new ids, which are about to be sent."""
        journal = self._journals[tenant]
        with self._lock:
            first, journal.sent = journal.sent, journal.sent + count
        return [f"{tenant}/{number}" for number in range(first, first + count)]

    def expected(self, tenant: str) -> Expected:
        """Return what a read that begins now must find."""
        journal = self._journals[tenant]
        with self._lock:
            living = {id: seq for id, seq in journal.seq_of.items() if id not in journal.forgetting}
            return Expected(living, frozenset(journal.forgotten), journal.head)

    def head(self, tenant: str) -> int:
        """Return the greatest seq that any client was shown."""
        with self._lock:
            return self._journals[tenant].head

    def acknowledge(self, tenant: str, receipt: Receipt, head: int) -> None:
        """Take in that a batch was acknowledged.

        Args:
            tenant: whose.
            receipt: as it came.
            head: of before the call.
        """
        journal, seq = self._journals[tenant], receipt.seq
        with self._lock:
            known = journal.batches.setdefault(seq, receipt.ids)
            journal.seq_of.update(dict.fromkeys(receipt.ids, seq))
            journal.head = max(journal.head, seq)
        if known != receipt.ids:
            self.violated("one seq acknowledged twice", f"{tenant} seq {seq}: {known} and {receipt.ids}")
        if set(receipt.seqs) != {seq}:
            self.violated("out of order", f"{tenant}: the batch {receipt.ids} lies in the records {receipt.seqs}")
        if not any(receipt.skipped) and seq <= head:
            self.violated("seen to go back", f"{tenant}: seq {seq} was given when {head} had been seen")

    def saw(self, tenant: str, seq: int, head: int) -> None:
        """Take in that a client was shown a seq by a call that began when the greatest one seen was `head`."""
        journal = self._journals[tenant]
        with self._lock:
            journal.head = max(journal.head, seq)
        if seq < head:
            self.violated("seen to go back", f"{tenant}: {seq} was shown when {head} had been seen")

    def pick(self, tenant: str, rng: random.Random) -> str | None:
        """Return some acknowledged id that nobody asked to be forgotten."""
        journal = self._journals[tenant]
        with self._lock:
            if not journal.batches:
                return None
            (ids,) = rng.choices(list(journal.batches.values()))
            id = rng.choice(ids)
            return None if id in journal.forgetting else id

    def forgetting(self, tenant: str, id: str) -> None:
        """Take in that an id is about to be asked to be forgotten."""
        with self._lock:
            self._journals[tenant].forgetting.add(id)

    def may_be_forgotten(self, tenant: str, id: str) -> bool:
        """Whether someone asked for an id to be forgotten."""
        with self._lock:
            return id in self._journals[tenant].forgetting

    def forgot(self, tenant: str, id: str) -> None:
        """Take in that it was acknowledged."""
        with self._lock:
            self._journals[tenant].forgotten.add(id)

    def check_entry(self, tenant: str, entry: StoredEntry, forgotten: frozenset[str]) -> None:
        """Check one entry that was returned by a call that began when so many were forgotten."""
        with self._lock:
            sent, seq = self._journals[tenant].sent, self._journals[tenant].seq_of.get(entry.id)
        owner, _, number = entry.id.rpartition("/")
        if owner != tenant or int(number) >= sent:
            self.violated("stored and never sent", f"{tenant}: {entry.id}")
        elif entry.text != text_of(entry.id):
            self.violated("stored with another text", f"{tenant}: {entry.id}")
        if entry.id in forgotten:
            self.violated("forgotten and there", f"{tenant}: {entry.id}")
        if seq is not None and entry.seq != seq:
            self.violated("out of order", f"{tenant}: {entry.id} lies in record {entry.seq}, {seq} was told")

    def check_all(self, tenant: str, expected: Expected, stored: Sequence[StoredEntry]) -> None:
        """Check all entries of a tenant, as they are listed; `expected` is of before."""
        for entry in stored:
            self.check_entry(tenant, entry, expected.forgotten)
        ids = [entry.id for entry in stored]
        for id, count in Counter(ids).items():
            if count > 1:
                self.violated("stored twice", f"{tenant}: {id}, {count} times")
        there = set(ids)
        for id, seq in expected.seq_of.items():
            if id not in there and not self.may_be_forgotten(tenant, id):
                self.violated("acknowledged and lost", f"{tenant}: {id} of record {seq}")
        seqs = [entry.seq for entry in stored]
        if seqs != sorted(seqs):
            self.violated("out of order", f"{tenant}: the list is")
        for seq, group in groupby(stored, key=lambda entry: entry.seq):
            numbers = [int(entry.id.rpartition("/")[2]) for entry in group]
            if numbers != sorted(numbers):  # ids are given out in order, and a batch's at once
                self.violated("out of order", f"{tenant}: the entries of record {seq}")
