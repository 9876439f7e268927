"""An index as of a moment."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from memsvc.recall.sessions import Chains, Places


class Cut(NamedTuple):
    """The index as of a seq: the first so many entries, those of them that live, and who stands beside whom."""

    size: int
    live: NDArray[np.bool_] | None
    """[size]; None where all live."""
    chains: Chains
    texts: int
    """The texts of these entries are the first so many."""
    live_texts: NDArray[np.bool_] | None = None
    """[texts], those that a living entry has; None where all live."""
    text: NDArray[np.int64] | None = None
    """[size], each entry's text; None where entry i has text i."""
    places: Places | None = None
    """Where entries stand, if some share their texts."""

    @classmethod
    def of(cls, session: NDArray[np.int64], text: NDArray[np.int64], texts: int, live: NDArray[np.bool_]) -> "Cut":
        """Return the cut of entries by their sessions [n], their texts [n], how many those are, and who lives [n]."""
        live_texts = np.zeros(texts, bool)
        live_texts[text[live]] = True
        cut = cls(len(session), live, Chains.of(session, live), texts, live_texts)
        return cut if texts == len(session) else cut._replace(text=text, places=Places.of(session, live, text))
