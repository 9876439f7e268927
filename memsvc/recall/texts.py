"""What is found by its text: each text once, with its passages' vectors and its words, whoever repeats it."""

import numpy as np
from numpy.typing import NDArray

from memsvc.recall.columns import Column, Offsets
from memsvc.recall.lexical import Lexical
from memsvc.recall.vectors import Vectors


class Texts:
    """Append-only. Texts are numbered 0, 1, 2 ... in the order in which they were first written."""

    def __init__(self, dim: int) -> None:
        """Make an empty one for vectors of this width."""
        self.vectors = Vectors(dim)
        """Of all passages."""
        self.lexical = Lexical()
        self._passages, self._spans = Offsets(), Column(np.int32, 2)

    def __len__(self) -> int:
        return len(self._passages)

    @property
    def starts(self) -> NDArray[np.int64]:
        """[n + 1] the first passage of each text, and the number of all passages."""
        return self._passages.starts

    @property
    def nbytes(self) -> int:
        """About how many bytes of memory are held."""
        return self.vectors.nbytes + self.lexical.nbytes + self._passages.nbytes + self._spans.nbytes

    def extend(self, passages: NDArray[np.int32], vectors: NDArray[np.float32], spans: NDArray[np.int32]) -> None:
        """Append texts by how many passages each has; their words go to `lexical`.

        Args:
            passages: [n].
            vectors: [p, d] unit rows.
            spans: [p, 2], code points.
        """
        self._passages.extend(passages)
        self._spans.extend(spans)
        self.vectors.extend(vectors)

    def slice(self, start: int, stop: int) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.int32]]:
        """Return what `extend` took of texts start to stop."""
        passages = self._passages.slice(start, stop)
        counts = self._passages.counts(start, stop)
        return counts, self.vectors.slice(passages.start, passages.stop), self._spans.values[passages]

    def products(self, queries: NDArray[np.float32], count: int) -> NDArray[np.float64]:
        """Return the products of queries [q, d] with all passages of the first `count` texts, as [q, p]."""
        return self.vectors.products(queries, int(self.starts[count]))

    def are_exact(self, count: int) -> bool:
        """Whether the products of the first `count` texts are exact."""
        return self.vectors.are_exact(int(self.starts[count]))

    def rows(self, texts: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the passages of texts, one text's after the other's, and where each text's begin among them."""
        first = self.starts[texts]
        counts = self.starts[texts + 1] - first
        starts = np.cumsum(counts) - counts
        return np.repeat(first - starts, counts) + np.arange(counts.sum()), starts

    def best(self, passage_scores: NDArray[np.float64], count: int) -> NDArray[np.float64]:
        """Return each text's best passage's score, [count], from passage scores [p]."""
        if len(passage_scores) == count:
            return passage_scores
        best: NDArray[np.float64] = np.maximum.reduceat(passage_scores, self.starts[:count])
        return best

    def span(self, text: int, passage_scores: NDArray[np.float64]) -> tuple[int, int]:
        """Return start and end, in code points, of the text's passage that scores highest."""
        passages = self._passages.slice(text, text + 1)
        start, end = self._spans.values[passages][np.argmax(passage_scores[passages])].tolist()
        return start, end
