"""BERT's layers as plain operations on tensors: for a query the library's modules take as long as its products do."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor
from torch.nn.functional import gelu, layer_norm, linear

from memsvc.recall.packed import attend


class _Linear(NamedTuple):
    weight: Tensor
    bias: Tensor

    @classmethod
    def of(cls, *modules: Any) -> Self:
        """Return one that gives what all of them do, side by side."""
        if len(modules) == 1:  # no copy
            return cls(modules[0].weight.detach(), modules[0].bias.detach())
        return cls(torch.cat([m.weight for m in modules]).detach(), torch.cat([m.bias for m in modules]).detach())


class _Norm(NamedTuple):
    shape: tuple[int, ...]
    weight: Tensor
    bias: Tensor
    eps: float

    @classmethod
    def of(cls, module: Any) -> Self:
        return cls(tuple(module.normalized_shape), module.weight.detach(), module.bias.detach(), module.eps)


class _Layer(NamedTuple):
    attention: _Linear
    """To queries, keys and values."""
    mixed: _Linear
    mixed_norm: _Norm
    wide: _Linear
    narrow: _Linear
    narrow_norm: _Norm

    @classmethod
    def of(cls, module: Any) -> Self:
        attention = module.attention
        return cls(
            _Linear.of(attention.self.query, attention.self.key, attention.self.value),
            _Linear.of(attention.output.dense),
            _Norm.of(attention.output.LayerNorm),
            _Linear.of(module.intermediate.dense),
            _Linear.of(module.output.dense),
            _Norm.of(module.output.LayerNorm),
        )


class Bert:
    """An encoder's pass over packed sequences.

    Args:
        model: a `BertModel` of Hugging Face.

    Raises:
        AttributeError, ValueError: it is another model, or one that this does not compute.
    """

    def __init__(self, model: Any) -> None:
        config = model.config
        if config.model_type != "bert" or config.hidden_act != "gelu" or config.is_decoder:
            raise ValueError(f"a model of type {config.model_type}")
        tables = model.embeddings
        self._words = tables.word_embeddings.weight.detach()
        # Every token is of the first text: there is no second.
        first = tables.token_type_embeddings.weight.detach()[0]
        self._positions = tables.position_embeddings.weight.detach() + first
        self._norm = _Norm.of(tables.LayerNorm)
        self._layers = tuple(map(_Layer.of, model.encoder.layer))
        self._heads: int = config.num_attention_heads

    def __call__(self, ids: Tensor, positions: Tensor, borders: Sequence[int]) -> Tensor:
        """Return the last hidden state, [tokens, d].

        Args:
            ids: of tokens, [tokens].
            positions: of each in its sequence, [tokens].
            borders: where sequences begin and end.
        """
        x = layer_norm(self._words[ids] + self._positions[positions], *self._norm)
        tokens = len(x)
        for layer in self._layers:
            split = linear(x, *layer.attention).view(tokens, 3, self._heads, -1)
            query, key, value = split.permute(1, 2, 0, 3)
            mixed = attend(query, key, value, borders).flatten(1)
            x = layer_norm(linear(mixed, *layer.mixed) + x, *layer.mixed_norm)
            x = layer_norm(linear(gelu(linear(x, *layer.wide)), *layer.narrow) + x, *layer.narrow_norm)
        return x
