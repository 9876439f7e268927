"""Which entries stand next to each other: one chain for each session, in the order of writing."""

import numpy as np
from numpy.typing import NDArray

from memsvc.recall.columns import Column, run_starts

ALONE = 0
"""The number of the session "", which is none: its entries stand alone."""
NONE = np.iinfo(np.int64).max
"""The successor of the last entry of a session: behind every cut."""


class Sessions:
    """Per entry its session, and the entries before and after it in that session (sessions may interleave)."""

    def __init__(self) -> None:
        self._session, self._before, self._after = Column(np.int64), Column(np.int64), Column(np.int64)
        self._last = Column(np.int64)  # per session, its last entry

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return sum(c.nbytes for c in (self._session, self._before, self._after, self._last))

    @property
    def session(self) -> NDArray[np.int64]:
        """Per entry the number of its session, or ALONE."""
        return self._session.values

    @property
    def before(self) -> NDArray[np.int64]:
        """Per entry the one before it in its session, or -1."""
        return self._before.values

    @property
    def after(self) -> NDArray[np.int64]:
        """Per entry the one after it in its session, or NONE."""
        return self._after.values

    def extend(self, session: NDArray[np.int64]) -> None:
        """Append entries by the numbers of their sessions."""
        first = len(self._session)
        self._last.extend(np.full(max(int(session.max(initial=ALONE)) + 1 - len(self._last), 0), -1))
        members = np.flatnonzero(session != ALONE)
        members = members[np.argsort(session[members], kind="stable")]
        starts = run_starts(session[members])
        heads, tails = members[starts], members[np.append(starts[1:], len(members))[: len(starts)] - 1]
        before = np.full(len(session), -1)
        before[members[1:]] = first + members[:-1]
        before[heads] = self._last.values[session[heads]]
        self._last.values[session[tails]] = first + tails
        self._session.extend(session)
        self._before.extend(before)
        self._after.extend(np.full(len(session), NONE))
        linked = np.flatnonzero(before >= 0)
        self._after.values[before[linked]] = first + linked

    def around(self, entry: int, count: int) -> tuple[list[int], list[int]]:
        """Return up to `count` entries before and after one in its session, each in the order of writing."""
        earlier: list[int] = []
        at = entry
        while len(earlier) < count and (at := int(self.before[at])) >= 0:
            earlier.append(at)
        later: list[int] = []
        at = entry
        while len(later) < count and (at := int(self.after[at])) != NONE:
            later.append(at)
        return earlier[::-1], later


def neighbour_sum(scores: NDArray[np.float64], sessions: Sessions, weights: tuple[float, ...]) -> NDArray[np.float64]:
    """Return, per entry, the weighted scores of the entries 1, 2 ... places before and after it in its session.

    Args:
        scores: [n], of the first n entries; later ones do not exist here.
        sessions: their order.
        weights: of the neighbours one place away, two places away, and so on.
    """
    n = len(scores)
    total = np.zeros(n)
    for direction in (sessions.before[:n], np.minimum(sessions.after[:n], n)):
        reached = scores
        for weight in weights:
            # Where there is no neighbour the index is -1 or n: both name the 0 at the end.
            reached = np.append(reached, 0.0)[direction]
            if weight:
                total += weight * reached
    return total


def best_mean(scores: NDArray[np.float64], sessions: Sessions, best: int) -> NDArray[np.float64]:
    """Return, per entry, the mean of its session's `best` highest scores, or of all where it has fewer.

    An entry without a session is a session of one: it takes its own score.
    """
    session = sessions.session[: len(scores)]
    size = np.bincount(session)
    left = scores.copy()
    total = np.zeros(len(size))
    for rank in range(best):
        highest = np.full(len(size), -np.inf)
        np.maximum.at(highest, session, left)
        total += np.where(size > rank, highest, 0.0)
        # Of equal scores only one is used up: assigned backwards, the first one stays.
        hits = np.flatnonzero(left == highest[session])[::-1]
        used = np.zeros(len(size), np.int64)
        used[session[hits]] = hits
        left[used[session[hits]]] = -np.inf
    means = total / np.clip(size, 1, best)
    return np.where(session == ALONE, scores, means[session])
