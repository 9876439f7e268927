"""The context memory as a part of the model: its projections, its learned rates and gate, and its pass over a stream.

    B  rows    T  tokens, whole chunks    b  tokens of a chunk    d  width

What a model of this size needed before its memory learnt anything (NUMERICS.md, Memory as Context that learns): the key
of a token is the query of the one before it; the value is a projection of the token's own embedding; both have length
1; a short convolution precedes the query; M(x) = 0 at the start.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, pad, rms_norm

from memsvc.backbone.titans_mac.config import ContextMemoryConfig, MacConfig
from memsvc.backbone.titans_mac.convolution import ShortConvolution
from memsvc.backbone.titans_mac.mlp import Weights
from memsvc.backbone.titans_mac.state import MemoryState
from memsvc.backbone.titans_mac.step import Gradients, Learnt, Rates, learn, read, surprise

_THETA, _ETA, _ALPHA, _GATE = range(4)
_BIASES = (1.0, -1.5, -9.0, 3.0)
"""Of the rates and the gate at the start: θ = .73, η = .16, α = .0001, and the gate open."""
_LARGEST_ETA = 0.9
_LEAST = 1e-4
"""Surprise that the gate's logarithm starts from."""
_MARGIN = 1e-3
"""Rounding, of a logit."""
RIDGE = 0.006
"""λ at the start, as a share of what the last layer's inputs could come to."""


class Remembered(NamedTuple):
    """What the memory gave and did."""

    readouts: Tensor
    """M(q) of the tokens whose readouts were asked for, of root mean square about 1, [B, ≤ T, value]."""
    write: Tensor
    """How far the gate was open, [B, T]; 0 or 1 where it is hard."""
    logit: Tensor
    """Of the gate, [B, T]: above 0 it is open. In chunks that are not read at all, the most that it could be."""
    state: MemoryState


class ContextMemory(nn.Module):
    """One memory per row, with common initial weights.

    Attributes:
        hard: the gate opens wholly or not at all; soft is for the beginning of training.
    """

    def __init__(self, config: MacConfig) -> None:
        super().__init__()
        memory = config.memory
        self.config, self.chunk, self.hard = memory, config.chunk, True
        self.convolution = ShortConvolution(memory.conv, config.width)
        self.query = nn.Linear(config.width, memory.key - 1, bias=False)
        self.value = nn.Linear(config.width, memory.value, bias=False)
        self.rates = nn.Linear(config.width, 4)
        self.surprise = nn.Parameter(torch.zeros(()))
        self.gain = nn.Parameter(torch.ones(memory.value))
        self.ridge = nn.Parameter(torch.tensor(RIDGE * memory.scale**2 * memory.hidden).log())
        # All but the last, which stays zero: a learned one would grow into a language model of its own, beside which
        # what is written is small.
        self.initial = nn.ParameterList(map(nn.Parameter, initial_weights(memory)))
        nn.init.zeros_(self.rates.weight)
        self.rates.bias.data.copy_(torch.tensor(_BIASES))

    def forward(
        self,
        x: Tensor,
        embeddings: Tensor,
        state: MemoryState,
        *,
        learning: bool = True,
        readouts: int | None = None,
    ) -> Remembered:
        """Pass over whole chunks.

        A chunk reads, and takes its gradients at, the state that the chunk before it left.

        Args:
            x: the tokens' states, [B, T, d].
            embeddings: of the tokens, [B, T, d].
            state: before them.
            learning: off, nothing is written, whatever the gate says: the control called zero writes.
            readouts: of so many tokens are asked for, the last; None for all. Of the chunks before, those
                that cannot write are not read at all.
        """
        mixed, inputs = self.convolution(x, state.inputs)
        # The constant is what the first layer's bias is made of.
        queries = pad(normalize(self.query(mixed), dim=-1), (0, 1), value=1.0)
        queries = torch.cat([state.query, queries], 1)
        values = normalize(self.value(embeddings), dim=-1)
        rates = self.rates(x)
        learnt, weights = Learnt(state.delta, state.momentum, state.inverse), self._weights(state.delta)
        wanted = x.shape[1] if readouts is None else readouts
        read_from = (x.shape[1] - wanted) // self.chunk * self.chunk
        most = self._most(rates[:, :read_from, _GATE])
        shut = (most < -_MARGIN).view(len(x), -1, self.chunk).all(2).all(0).tolist()
        found, writes, logits = [], [], []
        own = False
        for start in range(0, x.shape[1], self.chunk):
            part = slice(start, start + self.chunk)
            if start < read_from and shut[start // self.chunk]:
                logits.append(most[:, part])
                writes.append(torch.zeros_like(most[:, part]))
                continue
            readout, gradients = read(weights, queries[:, start : start + self.chunk + 1], values[:, part])
            if start >= read_from:
                found.append(readout)
            logit = self._logit(rates[:, part, _GATE], gradients)
            write = self._gate(logit) if learning else torch.zeros_like(logit)
            logits.append(logit)
            writes.append(write)
            changed = self._learn(learnt, gradients, self._rates(rates[:, part], write, logit), own=own)
            if changed is not None:
                learnt, weights, own = changed, self._weights(changed.delta), True
        output = rms_norm(torch.cat(found, 1)[:, -wanted:], (self.config.value,), self.gain, eps=1e-4)
        state = MemoryState(*learnt, inputs, queries[:, -1:].clone())
        return Remembered(output, torch.cat(writes, 1), torch.cat(logits, 1), state)

    def shut(self, raised: float) -> None:
        """Have the gate open only where its logit was above that so far."""
        self.rates.bias.data[_GATE] -= raised

    def _weights(self, delta: Weights) -> Weights:
        return with_delta(tuple(self.initial), delta)

    def _logit(self, logit: Tensor, gradients: Gradients) -> Tensor:
        if self.config.gate == "surprise":
            logit = self.rates.bias[_GATE].expand_as(logit)
        return logit + self.surprise * torch.log(surprise(gradients) + _LEAST)

    def _most(self, logit: Tensor) -> Tensor:
        """Return the most that the gate's logit could be, however much or little the tokens surprise, [B, T].

        It is bounded where the gate is hard and surprise shuts it, as it does in all models that ship.
        """
        bounded = self.config.gate == "learned" and self.hard and float(self.surprise.detach()) <= 0
        if not bounded or torch.is_grad_enabled():
            return torch.full_like(logit, torch.inf)
        return logit + self.surprise * math.log(_LEAST)

    def _gate(self, logit: Tensor) -> Tensor:
        if self.config.gate == "open":
            return torch.ones_like(logit)
        soft = torch.sigmoid(logit)
        if not self.hard:
            return soft
        hard = (logit > 0).to(soft.dtype)
        # Straight through: the gradient is the soft gate's.
        return hard + (soft - soft.detach()) if torch.is_grad_enabled() else hard

    def _rates(self, raw: Tensor, write: Tensor, logit: Tensor) -> Rates:
        eta, alpha = _LARGEST_ETA * torch.sigmoid(raw[..., _ETA]), torch.sigmoid(raw[..., _ALPHA])
        return Rates(
            theta=torch.sigmoid(raw[..., _THETA]),
            eta=eta if self.config.momentum else torch.zeros_like(eta),
            alpha=alpha if self.config.decay else torch.zeros_like(alpha),
            write=write,
            weight=torch.ones_like(logit) if self.config.sure is None else torch.sigmoid(logit - self.config.sure),
        )

    def _learn(self, state: Learnt, gradients: Gradients, rates: Rates, *, own: bool) -> Learnt | None:
        """Return the state after a chunk, None where it is as before; what is `own` may be written to."""
        # Where every token writes a little, there is no telling which directions are taken.
        ridge = self.ridge.exp() if self.config.second_order and self.hard else None
        if torch.is_grad_enabled():
            return learn(state, gradients, rates, self.config, ridge)
        # A chunk without a token that writes leaves the state as it is, to the bit: most chunks cost no update. Rows
        # learn one at a time: a row's bits then do not depend on which others write.
        writing = rates.write.any(1).nonzero()[:, 0].tolist()
        found = {i: learn(state.row(i), gradients.row(i), rates.row(i), self.config, ridge) for i in writing}
        # What is not finite all the same is not taken (NUMERICS.md, Stability 4).
        taken = {i: row for i, row in found.items() if row.finite}
        if not taken or len(rates.write) == 1:
            return taken.get(0)
        # P alone is megabytes a row: a pass copies all of them once, not with every chunk that writes.
        changed = state if own else state.copy()
        for i, row in taken.items():
            changed.put(i, row)
        return changed


def initial_weights(config: ContextMemoryConfig, generator: torch.Generator | None = None) -> Weights:
    """Return W0 before training, without the last layer: units that answer to some keys, little mixing inside."""
    first, *inner, _ = config.shapes
    weight = torch.randn(first, generator=generator) * config.scale
    weight[:, -1] = -config.threshold * config.scale
    mixing = (torch.randn(shape, generator=generator) / shape[1] ** 0.5 / config.scale for shape in inner)
    return (weight, *mixing)


def with_delta(initial: Weights, delta: Weights) -> Weights:
    """Return W0 + Δ per layer; the last layer's W0 is zero."""
    return (*(w + d for w, d in zip(initial, delta[:-1], strict=True)), delta[-1])
