"""BERT's layers as plain operations on tensors: for a query the library's modules take as long as its products do."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor
from torch.nn.functional import gelu, layer_norm, linear

from memsvc.recall.packed import attend

_PACKED_FOR = 512
"""Tokens that packed weights are laid out for. Any number may be multiplied with them."""


class _Linear:
    """What modules give side by side, and an activation after it.

    In bfloat16 oneDNN packs weights for every product anew, unless they are packed once; and the activation is worth a
    third of the product that it follows, unless it is a part of it. Both are what compiled models do.
    """

    def __init__(self, *modules: Any) -> None:
        self._weight = torch.cat([m.weight for m in modules]).detach()
        self._bias = torch.cat([m.bias for m in modules]).detach()
        self._packs = self._weight.dtype is torch.bfloat16 and _packs()
        if self._packs:
            self._weight = torch.ops.mkldnn._reorder_linear_weight(self._weight, _PACKED_FOR)

    def __call__(self, x: Tensor, *, activate: bool = False) -> Tensor:
        if self._packs:
            name, how = ("gelu", "none") if activate else ("none", "")
            packed: Tensor = torch.ops.mkldnn._linear_pointwise(x, self._weight, self._bias, name, [], how)
            return packed
        plain = linear(x, self._weight, self._bias)
        return gelu(plain) if activate else plain


def _packs() -> bool:
    return all(hasattr(torch.ops.mkldnn, name) for name in ("_reorder_linear_weight", "_linear_pointwise"))


class _Norm(NamedTuple):
    shape: tuple[int, ...]
    weight: Tensor
    bias: Tensor
    eps: float

    @classmethod
    def of(cls, module: Any) -> Self:
        return cls(tuple(module.normalized_shape), module.weight.detach(), module.bias.detach(), module.eps)


class _Layer(NamedTuple):
    split: _Linear
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
            _Linear(attention.self.query, attention.self.key, attention.self.value),
            _Linear(attention.output.dense),
            _Norm.of(attention.output.LayerNorm),
            _Linear(module.intermediate.dense),
            _Linear(module.output.dense),
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
        for layer in self._layers:
            query, key, value = layer.split(x).view(len(x), 3, self._heads, -1).permute(1, 2, 0, 3)
            mixed = attend(query, key, value, borders).flatten(1)
            x = layer_norm(layer.mixed(mixed) + x, *layer.mixed_norm)
            x = layer_norm(layer.narrow(layer.wide(x, activate=True)) + x, *layer.narrow_norm)
        return x
