"""The pages of a log that an export has read: what it has of an entry depends on when its page was read."""

from bisect import bisect_left
from collections.abc import Sequence
from typing import NamedTuple

from memsvc.store.types import Record


class Pages(NamedTuple):
    """The pages of a log as they were read, one after another."""

    numbers: list[int]
    """The highest number of an entry up to each."""
    heads: list[int]
    """The log's last record once each was read: what was destroyed with a later one is in the page."""

    def add(self, records: Sequence[Record], head: int) -> None:
        """Add the next page."""
        before = self.numbers[-1] if self.numbers else 0
        self.numbers.append(max((entry.number for record in records for entry in record.entries), default=before))
        self.heads.append(head)

    def head_of(self, number: int) -> int:
        """Return the log's last record once an entry was read; of one that was not there, no earlier one."""
        return self.heads[min(bisect_left(self.numbers, number), len(self.heads) - 1)]
