"""Ablations of a trained model that need no training of their own: a part of its memory is switched to another."""

import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from memsvc.backbone.titans_mac.config import ContextMemoryConfig, MacConfig
from memsvc.backbone.titans_mac.model import TitansMac

SWITCHES: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "gate: learned": {"gate": "learned"},
        "gate: always open": {"gate": "open"},
        "no momentum": {"momentum": False},
        "with momentum": {"momentum": True},
        "no decay": {"decay": False},
        "with decay": {"decay": True},
        "all that is written counts alike": {"sure": None},
        "first order": {"second_order": False},
        "second order": {"second_order": True},
        "readout: keys and values alone": {"readout": "kv"},
        "readout: residual alone": {"readout": "residual"},
    }
)
"""What each changes of the memory's configuration."""
SURPRISES: Mapping[str, float] = MappingProxyType(
    {f"gate: the {share:g} of highest surprise": share for share in (0.1, 0.01, 0.001)}
)
"""Gates that |∇ℓ| alone opens, for about so large a share of ordinary tokens."""
CHUNKS: Mapping[str, int] = MappingProxyType(
    {f"chunks of {tokens:,}": tokens for tokens in (16, 32, 64, 128, 256, 512, 1024, 2048)}
)
"""Tokens of one step of the memory, in a model that was trained with another number; the window stays as it is."""
FAR = ("gate: always open", "no decay", "all that is written counts alike")
"""Those that are tried in longer texts, too: what they change may show only there."""
_SAMPLE = 16_384
"""Tokens in which surprise is looked at."""


def switches(config: MacConfig) -> list[str]:
    """Return the names of what a model can be switched to that it is not already, with the weights that it has."""
    return [*_changes(config.memory), *_surprises(config.memory), *_chunks(config)]


def _changes(memory: ContextMemoryConfig) -> list[str]:
    own = asdict(memory)
    return [
        name
        for name, changes in SWITCHES.items()
        if not changes.items() <= own.items() and ("readout" not in changes or memory.readout == "both")
    ]


def _surprises(memory: ContextMemoryConfig) -> list[str]:
    return [] if memory.gate == "surprise" else list(SURPRISES)


def _chunks(config: MacConfig) -> list[str]:
    return [name for name, tokens in CHUNKS.items() if tokens != config.chunk]


def is_switch(name: str) -> bool:
    """Whether an ablation of this name needs no model of its own."""
    return name in SWITCHES or name in SURPRISES or name in CHUNKS


def switched(model: TitansMac, name: str, hay: Tensor) -> TitansMac:
    """Return the model with one part switched; weights that it has no place for go.

    Args:
        model: with the gate hard; stays as it is.
        name: one of `switches`.
        hay: ordinary tokens, [n], that say how much surprise is much.
    """
    changes = SWITCHES.get(name, {"gate": "surprise"} if name in SURPRISES else {})
    other = TitansMac(replace(model.config, memory=replace(model.config.memory, **changes)))
    weights = model.state_dict()
    other.load_state_dict({key: weights[key] for key in other.state_dict()})
    other.eval().requires_grad_(requires_grad=False)
    if other.memory is not None:
        other.memory.chunk = CHUNKS.get(name, other.memory.chunk)
    if name in SURPRISES:
        _open_above(other, hay, SURPRISES[name])
    return other


@torch.no_grad()
def _open_above(model: TitansMac, hay: Tensor, share: float) -> None:
    """Have surprise open the gate where it is as high as the highest share of it in ordinary text."""
    memory = model.memory
    if memory is None:
        raise ValueError("the model has no memory")
    # The gate's logit is then the logarithm of the surprise.
    memory.surprise.fill_(1.0)
    memory.rates.bias[-1] = 0.0
    whole = min(_SAMPLE, len(hay)) // model.config.chunk * model.config.chunk
    logits = model.stream(hay[None, :whole].long(), model.initial(1), learning=False).logit[0]
    kept = max(1, math.floor(share * whole))
    memory.rates.bias[-1] = -logits.sort(descending=True).values[kept - 1]
