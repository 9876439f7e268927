"""What the service benchmarks write: dialogue turns, passages of documents, made-up entries with their own vectors."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from memsvc.train import corpus
from memsvc_bench import documents, locomo
from memsvc_bench.corpus import Passage

PASSAGE_CHARS = 650
"""Shortest passage of a document that is written; the longest has about 1,000 characters."""
SPOKEN_CHARS = range(20, 300)
"""Length of a sentence that stands for a turn."""
SPEAKERS = ("Ada", "Ben")
BLOCK = 500
"""Entries of a synthetic tenant that are made together; about a megabyte with their vectors."""
SESSION_ENTRIES = 50
CLUSTERS = 500
SPREAD = 1.0
"""Length of an entry's own part beside its cluster's centre of length 1."""
VOCABULARY = 30_000
MADE_WORD_CHARS = 7
WORDS_IN_ENTRY = 20
WORDS_IN_QUERY = 8

Floats = NDArray[np.float32]

_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")
_WORD = re.compile(r"[A-Za-z]{2,}")


def dialogue(data: Path | None) -> list[str]:
    """Return the turns of a LoCoMo file, or turns made of the sentences of Python's own manual.

    Raises:
        ValueError: the file is not LoCoMo's.
    """
    if data is not None:
        return [entry.text for stream in locomo.load(data) for entry in stream.entries]
    return _spoken(passages())


def library() -> Iterator[Passage]:
    """Yield the sentences of Python's manual and of its library's docstrings as turns, each document a session.

    Some half a million tokens.
    """
    for document in (*corpus.documents(test=True), *corpus.documents(test=False)):
        for turn in _spoken([document.text]):
            yield Passage(document.name, turn)


def passages() -> list[str]:
    """Return the longer passages of Python's own manual, in order."""
    return [entry.text for entry in documents.load().entries if len(entry.text) >= PASSAGE_CHARS]


class Block(NamedTuple):
    """Some synthetic entries in a row."""

    first: int
    """Number of the first, from 0."""
    texts: list[str]
    sessions: list[str]
    vectors: Floats
    """[n, d], unit rows."""


class Synthetic:
    """Entries by the hundred thousand without an encoder: clustered unit vectors, texts of words under Zipf's law.

    The commonest words are the commonest of Python's own manual, so that there are stop words and stems as in English.

    Args:
        entries: how many.
        dim: width of the vectors.
        seed: equal seeds give equal entries.
    """

    def __init__(self, entries: int, dim: int, seed: int = 0) -> None:
        self.entries, self._dim, self._seed = entries, dim, seed
        self._centres = _unit(self._rng(0).standard_normal((CLUSTERS, dim), np.float32))
        self._words = _vocabulary(self._rng(1))
        weights = 1 / np.arange(1, len(self._words) + 1)
        self._cumulative = np.cumsum(weights / weights.sum())

    def blocks(self) -> Iterator[Block]:
        """Yield all entries, BLOCK at a time."""
        for first in range(0, self.entries, BLOCK):
            n = min(BLOCK, self.entries - first)
            rng = self._rng(2, first)
            noise = _unit(rng.standard_normal((n, self._dim), np.float32))
            vectors = _unit(self._centres[rng.integers(CLUSTERS, size=n)] + np.float32(SPREAD) * noise)
            texts = self._texts(rng, n, WORDS_IN_ENTRY)
            sessions = [f"session-{i // SESSION_ENTRIES}" for i in range(first, first + n)]
            yield Block(first, texts, sessions, vectors)

    def vectors(self) -> Floats:
        """Return all vectors, [entries, d]."""
        return np.concatenate([block.vectors for block in self.blocks()])

    def queries(self, n: int) -> list[str]:
        """Return n texts to ask for, of the same words."""
        return self._texts(self._rng(3), n, WORDS_IN_QUERY)

    def _texts(self, rng: np.random.Generator, n: int, length: int) -> list[str]:
        places = np.searchsorted(self._cumulative, rng.random((n, length)) * self._cumulative[-1])
        return [" ".join(self._words[place] for place in row) for row in places.tolist()]

    def _rng(self, *stream: int) -> np.random.Generator:
        return np.random.default_rng([self._seed, *stream])


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """Return p50, p99 and the largest, in milliseconds."""
    ms = 1000 * np.asarray(seconds)
    return {"p50_ms": float(np.quantile(ms, 0.5)), "p99_ms": float(np.quantile(ms, 0.99)), "max_ms": float(ms.max())}


def _spoken(texts: Sequence[str]) -> list[str]:
    """The texts' sentences as turns."""
    sentences = [" ".join(sentence.split()) for text in texts for sentence in _SENTENCE.split(text)]
    spoken = [sentence for sentence in sentences if len(sentence) in SPOKEN_CHARS]
    return [f"{SPEAKERS[i % len(SPEAKERS)]}: {sentence}" for i, sentence in enumerate(spoken)]


def _vocabulary(rng: np.random.Generator) -> list[str]:
    """The manual's words by falling frequency, then made-up ones."""
    counts = Counter(word.lower() for topic in sorted(topics) for word in _WORD.findall(topics[topic]))
    words = [word for word, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]
    letters = rng.integers(ord("a"), ord("z") + 1, (VOCABULARY, MADE_WORD_CHARS), np.uint8)
    return [*words, *(bytes(row).decode() for row in letters)][:VOCABULARY]


def _unit(x: NDArray[Any]) -> Floats:
    return np.asarray(x / np.linalg.norm(x, axis=1, keepdims=True), np.float32)
