"""Metadata of all entries, by column, so that a filter reads one key of a hundred thousand entries in milliseconds."""

import json
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from memsvc.recall.columns import Column, Names, Offsets
from memsvc.recall.metadata import Condition, Value, value_of


class MetadataIndex:
    """All (entry, key, value) triples in the order of writing; keys and values are numbers of interned strings."""

    def __init__(self) -> None:
        self.keys, self.texts = Names(), Names()
        self.key, self.value, self.offsets = Column(np.uint32), Column(np.uint32), Offsets()
        self._entry = Column(np.uint32)
        # Per text: what it compares as, the first text that compares the same, and the number that it is, or nan.
        self._values: list[Value] = []
        self._first: dict[Value, int] = {}
        self._same, self._number = Column(np.int64), Column(np.float64)

    @property
    def nbytes(self) -> int:
        """About how many bytes are held."""
        columns = (self.key, self.value, self.offsets, self._entry, self._same, self._number)
        return sum(c.nbytes for c in columns) + self.keys.nbytes + self.texts.nbytes + 250 * len(self._values)

    def extend(self, key: NDArray[np.int64], value: NDArray[np.int64], count: NDArray[np.int32]) -> None:
        """Append entries.

        Args:
            key: numbers of the entries' keys, one entry after the other.
            value: numbers of the values' texts (JSON), of the same length.
            count: [n], how many keys each entry has.
        """
        first = len(self.offsets)
        self._parse(len(self._values))
        self.key.extend(key)
        self.value.extend(value)
        self._entry.extend(np.repeat(np.arange(first, first + len(count)), count))
        self.offsets.extend(count)

    def select(self, conditions: Sequence[Condition], count: int) -> NDArray[np.bool_]:
        """Return which of the first `count` entries meet all conditions."""
        selected = np.ones(count, bool)
        for condition in conditions:
            number = self.keys.find(condition.key)
            at = np.flatnonzero(self.key.values[self.offsets.slice(0, count)] == number)
            holds = np.full(count, condition.holds(None))
            holds[self._entry.values[at]] = self._hold(condition, self.value.values[at])
            selected &= holds
        return selected

    def _hold(self, condition: Condition, value: NDArray[np.uint32]) -> NDArray[np.bool_]:
        if condition.operator in {"$eq", "$ne"}:
            equal: NDArray[np.bool_] = self._same.values[value] == self._first.get(condition.operand, -1)
            return equal if condition.operator == "$eq" else ~equal
        if condition.operand.kind == "number":
            # Rounding to float keeps the order; only numbers that round to the same need a closer look.
            limit = _rounded(condition.operand)
            holds: NDArray[np.bool_] = condition.compare(self._number.values, limit)
            unsure = np.flatnonzero(self._number.values == limit)
        else:
            holds = np.zeros(len(self._values), bool)
            holds[value] = True
            unsure = np.flatnonzero(holds)
        holds[unsure] = condition.hold([self._values[i] for i in unsure.tolist()])
        selected: NDArray[np.bool_] = holds[value]
        return selected

    def _parse(self, start: int) -> None:
        """Work out what the texts from number `start` on compare as."""
        values = [value_of(parsed) for parsed in json.loads(f"[{','.join(self.texts.names[start:])}]")]
        self._values += values
        self._same.extend(np.array([self._first.setdefault(v, start + i) for i, v in enumerate(values)], np.int64))
        self._number.extend(np.array([_rounded(v) for v in values], np.float64))


def _rounded(value: Value) -> float:
    if value.kind != "number":
        return math.nan
    try:
        return float(value.content)
    except OverflowError:
        return math.inf if value.content > 0 else -math.inf
