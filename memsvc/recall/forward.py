"""A transformer's forward pass over sequences of any lengths, so that a sequence's bits do not depend on its company.

Bits of a matrix product depend on its shape (NUMERICS.md, Determinism). Two ways fix the shape:

- *Packed*: sequences lie end to end in a block of a fixed number of tokens, and each attends to itself alone. Nothing
  is padded but the end of a block. BERT's layers are computed here (bert.py), other models' by the library, where they
  take positions and an attention function.
- *Padded*: each sequence is padded to a rung of a ladder of lengths, and rungs are computed apart. It works for every
  model.

Both are checked on the model and the processor at hand before they are used.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, pairwise
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# Nothing is fetched unless the operator says so. The library reads this once, when it is imported.
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from memsvc.recall.bert import Bert
from memsvc.recall.packed import attend
from memsvc.recall.passages import RUNG

Ids = NDArray[np.int32]
Hidden = NDArray[np.float32]

BLOCKS = tuple(range(128, 1025, 128))
"""Tokens that a packed block may have."""
REFERENCE_BLOCK = 512
"""A sequence's bits are those that it has in a block of so many. Another size serves where it gives the same."""
MAX_ROWS = 64
"""Sequences in one padded forward pass."""
FIXED_ROWS = 8
"""Sequences in every padded forward pass where a row's bits depend on how many there are."""
ALIKE = 0.99
"""Least cosine between what the packed and the plain model make of a token: they differ by rounding alone."""


Pass = Callable[[Tensor, Tensor, Sequence[int]], Tensor]
"""From ids and positions, [tokens], and the borders of sequences, to the last hidden state, [tokens, d]."""


class Forward(Protocol):
    """Computes hidden states."""

    kind: str
    """What its bits depend on, for a fingerprint."""

    def __call__(self, sequences: Sequence[Ids]) -> list[Hidden]:
        """Return [n, d] for each sequence [n], n at least 1; the same bits whatever stands beside it."""
        ...

    def alone(self, sequence: Ids) -> Hidden:
        """Return [n, d] at the least cost: its bits need not be those of a call."""
        ...


def choose(model: Any, pad: int, window: int) -> Forward:
    """Return the best way that works for a model on this processor.

    Args:
        model: of Hugging Face, in evaluation mode. It may be changed: from now on it is computed in this way.
        pad: the token to pad with.
        window: the longest sequence.
    """
    padded = Padded(model, pad, window)
    lengths = (window, 1, RUNG, window // 2, RUNG, RUNG + 3, window // 3 + 1, RUNG)
    samples = [sample(i, length) for i, length in enumerate(lengths)]
    plain = [padded.alone(s) for s in samples]
    for make in (Bert, _library):
        try:
            packed = Packed(make(model), pad, window)
            if packed.works(samples, plain):
                return packed
        except (AttributeError, TypeError, ValueError, RuntimeError, KeyError, IndexError):
            continue  # a model that does not take what this way needs
    if hasattr(model, "set_attn_implementation"):
        model.set_attn_implementation("sdpa")
    padded.find_rows()
    return padded


class Packed:
    """Sequences end to end in blocks."""

    def __init__(self, compute: Pass, pad: int, window: int) -> None:
        self.kind = f"packed {REFERENCE_BLOCK}"
        self._pass, self._pad, self._window = compute, pad, window
        self._reference = max(REFERENCE_BLOCK, window)
        self._same = {self._reference: True}

    def __call__(self, sequences: Sequence[Ids]) -> list[Hidden]:
        """See `Forward`."""
        out: list[Hidden] = [np.empty((0, 0), np.float32)] * len(sequences)
        for block, places in self._blocks([len(s) for s in sequences]):
            for place, hidden in zip(places, self._compute([sequences[p] for p in places], block), strict=True):
                out[place] = hidden
        return out

    def alone(self, sequence: Ids) -> Hidden:
        """See `Forward`."""
        return self._compute([sequence], len(sequence))[0]

    def works(self, samples: Sequence[Ids], plain: Sequence[Hidden]) -> bool:
        """Whether it computes what the plain model does, with bits that depend on neither place nor company."""
        together = self(samples)
        turned = self([*samples[2:], *samples[:2]])
        turned = [*turned[-2:], *turned[:-2]]
        for sequence, one, other, expected in zip(samples, together, turned, plain, strict=True):
            cosine = (one * expected).sum(1) / np.maximum(_norm(one) * _norm(expected), 1e-12)
            (apart,) = self([sequence])
            if cosine.min() < ALIKE or not (np.array_equal(one, other) and np.array_equal(one, apart)):
                return False
        return True

    def _blocks(self, lengths: Sequence[int]) -> Iterator[tuple[int, list[int]]]:
        """Yield the size of each block, and which sequences it holds: the longest first, each where it fits."""
        sizes = [block for block in sorted({*BLOCKS, self._reference}) if self._is_same(block)]
        filled: list[int] = []
        places: list[list[int]] = []
        for place in sorted(range(len(lengths)), key=lambda p: -lengths[p]):
            fits = (i for i, tokens in enumerate(filled) if tokens + lengths[place] <= sizes[-1])
            if (i := next(fits, None)) is None:
                i = len(filled)
                filled.append(0)
                places.append([])
            filled[i] += lengths[place]
            places[i].append(place)
        for tokens, held in zip(filled, places, strict=True):
            yield next(size for size in sizes if size >= tokens), held

    def _is_same(self, block: int) -> bool:
        """Whether a block of so many tokens gives sequences the bits of the reference."""
        if block not in self._same:
            samples = [sample(i, min(2 + 7 * i, block // 8, self._window)) for i in range(8)]
            pairs = zip(self._compute(samples, block), self._compute(samples[::-1], self._reference)[::-1], strict=True)
            self._same[block] = all(np.array_equal(one, other) for one, other in pairs)
        return self._same[block]

    def _compute(self, sequences: Sequence[Ids], block: int) -> list[Hidden]:
        ids, positions = np.full(block, self._pad, np.int64), np.zeros(block, np.int64)
        borders = [0]
        for sequence in sequences:
            at, end = borders[-1], borders[-1] + len(sequence)
            ids[at:end], positions[at:end] = sequence, np.arange(len(sequence))
            borders.append(end)
        with torch.inference_mode():
            hidden: Hidden = self._pass(torch.from_numpy(ids), torch.from_numpy(positions), borders).float().numpy()
        return [hidden[at:end] for at, end in pairwise(borders)]


class Padded:
    """Sequences of one rung side by side."""

    def __init__(self, model: Any, pad: int, window: int) -> None:
        self.kind = "padded"
        self._model, self._pad, self._window = model, pad, window
        self._rows: int | None = 1

    def __call__(self, sequences: Sequence[Ids]) -> list[Hidden]:
        """See `Forward`."""
        rungs: dict[int, list[int]] = {}
        for place, sequence in enumerate(sequences):
            rungs.setdefault(min(-(-len(sequence) // RUNG) * RUNG, self._window), []).append(place)
        rows = self._rows or MAX_ROWS
        out: list[Hidden] = [np.empty((0, 0), np.float32)] * len(sequences)
        for rung, places in sorted(rungs.items()):
            for batch in (places[i : i + rows] for i in range(0, len(places), rows)):
                for place, hidden in zip(batch, self._compute([sequences[p] for p in batch], rung), strict=True):
                    out[place] = hidden
        return out

    def alone(self, sequence: Ids) -> Hidden:
        """See `Forward`."""
        return self._compute([sequence], len(sequence), rows=1)[0]

    def find_rows(self) -> None:
        """Find how many rows a batch may have."""
        for rows in (None, FIXED_ROWS, 1):
            self._rows, self.kind = rows, f"padded {RUNG} rows {rows}"
            if rows == 1 or self._independent():
                return

    def _independent(self) -> bool:
        """Whether sequences have the same bits alone and in company, some padded and some not, on a few rungs."""
        lengths = chain.from_iterable(
            (rung - i % RUNG for i in range(5)) for rung in (RUNG, min(5 * RUNG, self._window), self._window)
        )
        samples = [sample(i, max(length, 1)) for i, length in enumerate(lengths)]
        together = self(samples)
        return all(np.array_equal(self([s])[0], other) for s, other in zip(samples, together, strict=True))

    def _compute(self, sequences: Sequence[Ids], rung: int, rows: int | None = None) -> list[Hidden]:
        ids = np.full((rows or self._rows or len(sequences), rung), self._pad, np.int64)
        mask = np.zeros_like(ids)
        mask[:, 0] = 1  # a row without a token would be nothing but infinities
        for row, sequence in enumerate(sequences):
            ids[row, : len(sequence)], mask[row, : len(sequence)] = sequence, 1
        with torch.inference_mode():
            output = self._model(input_ids=torch.from_numpy(ids), attention_mask=torch.from_numpy(mask))
            hidden: Hidden = output.last_hidden_state.float().numpy()
        return [hidden[row, : len(sequence)] for row, sequence in enumerate(sequences)]


def sample(seed: int, length: int) -> Ids:
    """Return a sequence of small token ids, which every vocabulary has."""
    return np.random.default_rng(seed).integers(0, 32, max(length, 1)).astype(np.int32)


def _norm(rows: Hidden) -> Hidden:
    norms: Hidden = np.sqrt(np.einsum("nd,nd->n", rows, rows))
    return norms


def _library(model: Any) -> Pass:
    """Return any model's pass, by the library's modules. The model attends within sequences from now on."""
    model.set_attn_implementation(_PACKED)

    def compute(ids: Tensor, positions: Tensor, borders: Sequence[int]) -> Tensor:
        output = model(input_ids=ids[None], position_ids=positions[None], cu_seq_lens_q=borders)
        hidden: Tensor = output.last_hidden_state[0]
        return hidden

    return compute


def _attend_by_library(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    cu_seq_lens_q: Sequence[int],
    scaling: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    causal = bool(getattr(module, "is_causal", False))
    return attend(query[0], key[0], value[0], cu_seq_lens_q, scale=scaling, causal=causal)[None], None


_PACKED = "memsvc_packed"
ALL_ATTENTION_FUNCTIONS.register(_PACKED, _attend_by_library)
