"""An encoder without weights: overlapping 6-grams of bytes, hashed. For base pairs, which are no words to a model."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from memsvc.recall.passages import Encoded, Frame, Passage, Split

K = 6
"""Bytes of a token."""
DIM = 384
WINDOW = 256

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX1, _MIX2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


class KmerEncoder:
    """Each 6-gram of the text's bytes (ASCII letters in lower case) is one token; a shorter text is one token.

    A token's state is a random corner of the cube, drawn from its hash, so two texts are as similar as the share of
    6-grams that they have in common.
    """

    name = "kmer"
    dim = DIM
    fingerprint = f"kmer-1 k={K} dim={DIM} window={WINDOW}"

    def __init__(self) -> None:
        self._frame = Frame(prefix=(), suffix=(), window=WINDOW, blank=0)

    def split(self, texts: Sequence[str]) -> list[Split]:
        """Cut texts into passages; no token is unknown."""
        return [self._split(text) for text in texts]

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Return how many tokens each text has."""
        return [max(len(text.encode()) - K + 1, 1) if text else 0 for text in texts]

    def encode(self, passages: Sequence[Passage]) -> list[Encoded]:
        """Encode passages."""
        return [self._encode(passage) for passage in passages]

    def encode_alone(self, passage: Passage) -> Encoded:
        """Encode one passage."""
        return self._encode(passage)

    def _split(self, text: str) -> Split:
        raw = np.frombuffer(text.encode().lower(), np.uint8)
        count = max(len(raw) - K + 1, 1) if len(raw) else 0
        ids = np.zeros(count, np.uint64)
        for i in range(K):
            part = raw[i : i + count].astype(np.uint64) + np.uint64(1)
            ids[: len(part)] = ids[: len(part)] * np.uint64(257) + part
        character = np.cumsum((raw & 0xC0) != 0x80) - 1  # of each byte
        first = np.arange(count)
        bounds = np.stack([character[first], character[np.minimum(first + K, len(raw)) - 1] + 1], 1)
        hashed = (_scramble(ids) >> np.uint64(33)).astype(np.int32)
        return Split(self._frame.cut(hashed, bounds.astype(np.int32), len(text)), count, 0)

    def _encode(self, passage: Passage) -> Encoded:
        lanes = np.arange(DIM // 64, dtype=np.uint64)
        words = passage.ids.astype(np.uint64)[:, None] * np.uint64(len(lanes)) + lanes
        bits = np.unpackbits(_scramble(words).astype("<u8").view(np.uint8), axis=1)
        states = (bits.astype(np.float32) * 2 - 1) / np.float32(DIM**0.5)
        pooled = states.sum(0, dtype=np.float64)
        pooled /= max(float(np.linalg.norm(pooled)), 1e-12)
        return Encoded(states[self._frame.content(passage)], pooled.astype(np.float32))


def _scramble(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64's output function: a bijection that leaves no pattern."""
    z = (numbers + np.uint64(1)) * _GOLDEN
    z = (z ^ (z >> np.uint64(30))) * _MIX1
    z = (z ^ (z >> np.uint64(27))) * _MIX2
    return z ^ (z >> np.uint64(31))
