"""A language model of Mistral's shape with random weights, made where it computes: as slow and as large as a real one.

Mistral 7B: arXiv:2310.06825, with a sliding window of 131,072 instead of 4,096 tokens.
"""

from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoModelForCausalLM, MistralConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What decides a model's size."""

    width: int = 4096
    layers: int = 32
    heads: int = 32
    kv_heads: int = 8
    hidden: int = 14_336
    """Of each layer's MLP."""
    vocabulary: int = 32_000
    window: int = 131_072
    """Tokens that it attends to."""


def random_mistral(shape: Shape, device: torch.device, dtype: torch.dtype) -> Any:
    """Return the model, in evaluation mode; its weights never pass through the host's memory."""
    config = MistralConfig(
        hidden_size=shape.width,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=shape.width // shape.heads,
        intermediate_size=shape.hidden,
        vocab_size=shape.vocabulary,
        sliding_window=shape.window,
        max_position_embeddings=shape.window,
        # A small model's vocabulary may be smaller than theirs.
        bos_token_id=None,
        eos_token_id=None,
    )
    # Without types.
    causal: Any = AutoModelForCausalLM
    with device:
        return causal.from_config(config, dtype=dtype, attn_implementation="sdpa").eval()


def fill(model: Any, cache: Any, tokens: int) -> None:
    """Put random keys and values of so many tokens into an empty cache, as if they had been computed."""
    config = model.config
    shape = (1, config.num_key_value_heads, tokens, config.head_dim)
    for layer in range(config.num_hidden_layers):
        keys, values = (torch.randn(shape, dtype=model.dtype, device=model.device) for _ in range(2))
        cache.update(keys, values, layer)
