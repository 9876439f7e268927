"""BM25 over append-only postings (Robertson and Zaragoza, 2009; the idf is Lucene's, never negative)."""

import math
from array import array
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from memsvc.recall.columns import Column, Names, Offsets, run_starts

K1, B = 1.2, 0.75


class Lexical:
    """Per term the entries that hold it, ascending, so that a past state of the index is a cut.

    What each entry holds is kept as well, in the order of writing: that is what a segment stores.
    """

    def __init__(self) -> None:
        self.terms = Names()
        # The distinct terms of all entries, how often each occurs, and where an entry's begin.
        self.term, self.times = Column(np.uint32, cold=True), Column(np.uint32, cold=True)
        self.offsets = Offsets()
        self._words = Column(np.int64)  # words of all entries up to and with this one
        self._postings: list[array[int]] = []  # per term: entry, times, entry, times ...

    @property
    def nbytes(self) -> int:
        """About how many bytes are held."""
        columns = sum(c.nbytes for c in (self.term, self.times, self.offsets, self._words))
        return columns + self.terms.nbytes + 8 * len(self.term) + 100 * len(self._postings)

    def extend(self, term: NDArray[np.int64], times: NDArray[np.uint32], count: NDArray[np.int32]) -> None:
        """Append entries.

        Args:
            term: numbers of the entries' distinct terms, one entry after the other.
            times: how often each occurs in its entry.
            count: [n], how many of them each entry has.
        """
        first = len(self.offsets)
        entry = np.repeat(np.arange(first, first + len(count)), count)
        order = np.argsort(term, kind="stable")
        grouped = term[order]
        heads = run_starts(grouped)
        pairs = memoryview(np.stack([entry, times], 1)[order].astype(np.uint32).tobytes())
        borders = [*(8 * heads).tolist(), len(pairs)]
        self._postings += [array("I") for _ in range(len(self.terms) - len(self._postings))]
        for number, (start, stop) in zip(grouped[heads].tolist(), pairwise(borders), strict=True):
            self._postings[number].frombytes(pairs[start:stop])
        self.term.extend(term)
        self.times.extend(times)
        self.offsets.extend(count)
        words = np.bincount(entry - first, times, len(count)).astype(np.int64)
        self._words.extend(np.cumsum(words) + (self._words.values[-1] if first else 0))

    def scores(self, terms: Sequence[str], count: int, live: NDArray[np.bool_] | None = None) -> NDArray[np.float64]:
        """Return the BM25 scores of the first `count` entries, as if there were no others; a term counts once.

        Args:
            terms: to look for.
            count: how many entries there are.
            live: [count], which of them count; None for all. The others score 0.
        """
        scores = np.zeros(count)
        size = count if live is None else int(live.sum())
        if not size:
            return scores
        words = self._words.values[:count]
        total = float(words[-1]) if live is None else float(np.diff(words, prepend=0)[live].sum())
        mean = max(total, 1.0) / size
        for term in dict.fromkeys(terms):
            number = self.terms.find(term)
            if number < 0:
                continue
            entry, times = np.frombuffer(self._postings[number], np.uint32).reshape(-1, 2).T
            held = int(np.searchsorted(entry, count))
            entry, often = entry[:held].astype(np.int64), times[:held].astype(np.float64)
            if live is not None:
                entry, often = entry[live[entry]], often[live[entry]]
            length = words[entry] - np.where(entry > 0, words[entry - 1], 0)
            idf = math.log(1 + (size - len(entry) + 0.5) / (len(entry) + 0.5))
            scores[entry] += idf * often * (K1 + 1) / (often + K1 * (1 - B + B * length / mean))
        return scores
