"""How many facts a context memory holds by its size, outside of any model: `memsvc bench context-capacity`.

A fact is five associations, as a needle of five digits is: keys that share part of what they are with those of the same
fact, and part with those of the same place in other facts, and one of ten values. They are written fact by fact by the
model's own step, and read with noise in the queries. Exact means that all five values are told from the other nine.
Keys are made up and the gate makes no mistake, so this is the bound that the shape sets, not what a model reaches.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import normalize, pad

from memsvc.backbone.titans_mac.config import ContextMemoryConfig
from memsvc.backbone.titans_mac.memory import RIDGE, initial_weights, with_delta
from memsvc.backbone.titans_mac.mlp import forward
from memsvc.backbone.titans_mac.step import Learnt, Rates, learn, read
from memsvc.engine.runner import prepare_thread
from memsvc_bench.progress import told
from memsvc_bench.report import Result, describe_machine

FACTS = (16, 32, 64, 100, 256, 512)
PLACES, VALUES = 5, 10
SHARED = 0.5
"""Of a key's square: half of it with its fact's other keys, half with the same place's in other facts."""
NOISE = 0.2
"""Length of what is added to a query, whose own is 1."""
SEEDS = 3
THREADS = 1

_SECOND = ContextMemoryConfig(hidden=1536)
_FIRST = replace(_SECOND, second_order=False, scale=4.0, threshold=1.5)
VARIANTS: Mapping[str, ContextMemoryConfig] = MappingProxyType(
    {
        **{f"hidden {width}": replace(_SECOND, hidden=width) for width in (256, 512, 1024, 1536, 2048)},
        **{f"hidden 1536, keys of {width}": replace(_SECOND, key=width) for width in (32, 128)},
        "hidden 1536, depth 3": replace(_SECOND, depth=3),
        "hidden 1536, nearly linear": replace(_SECOND, scale=0.1, threshold=0.0),
        **{f"first order, hidden {width}": replace(_FIRST, hidden=width) for width in (512, 1024, 2048, 4096)},
        "first order, hidden 1536, nearly linear": replace(_FIRST, scale=0.1, threshold=0.0),
    }
)
"""`text` has the shape of a hidden width of 1,536, `dialogue` and `dna` that of 2,048."""


class Held(NamedTuple):
    """How much was read back."""

    exact: float
    """Share of facts without a wrong value."""
    values: float
    """Share of right values."""


@torch.no_grad()
def held(config: ContextMemoryConfig, facts: Sequence[int], seed: int, *, noise: float = NOISE) -> list[Held]:
    """Return how much of what it was told a memory gives back, each time that it was told so many facts, ascending."""
    generator = torch.Generator().manual_seed(seed)

    def unit(*shape: int) -> Tensor:
        return normalize(torch.randn(*shape, generator=generator), dim=-1)

    width, most = config.key - 1, facts[-1]
    own, fact, place = unit(most, PLACES, width), unit(most, 1, width), unit(1, PLACES, width)
    keys = normalize((1 - SHARED) ** 0.5 * own + (SHARED / 2) ** 0.5 * (fact + place), dim=-1)
    queries = pad(normalize(keys + noise * unit(most, PLACES, width), dim=-1), (0, 1), value=1.0)
    values = unit(VALUES, config.value)
    chosen = torch.randint(VALUES, (most, PLACES), generator=generator)
    initial = tuple(w[None] for w in initial_weights(config, generator))
    state = Learnt(
        tuple(torch.zeros(1, *shape) for shape in config.shapes),
        tuple(torch.zeros(1, *shape) for shape in config.shapes),
        torch.eye(config.remembered)[None],
    )
    ridge = torch.tensor(RIDGE * config.scale**2 * config.hidden) if config.second_order else None
    ones = torch.ones(1, PLACES)
    # What first order holds most with; second order takes whole steps.
    rates = Rates(ones if config.second_order else 0.5 * ones, 0 * ones, 0 * ones, ones, ones)
    found: list[Held] = []
    for i in range(most):
        weights = with_delta(initial, state.delta)
        k = pad(keys[i : i + 1], (0, 1), value=1.0)
        # The last query is no token's key.
        _, gradients = read(weights, torch.cat([k, k[:, -1:]], 1), values[chosen[i : i + 1]])
        state = learn(state, gradients, rates, config, ridge)
        if (so_far := i + 1) in facts:
            asked = queries[:so_far].reshape(1, -1, config.key)
            output = forward(with_delta(initial, state.delta), asked).output
            right = (output @ values.T).argmax(-1).view(so_far, PLACES) == chosen[:so_far]
            found.append(Held(float(right.all(1).double().mean()), float(right.double().mean())))
    return found


def bench(
    *, variants: Mapping[str, ContextMemoryConfig] = VARIANTS, facts: Sequence[int] = FACTS, seeds: int = SEEDS
) -> Result:
    """`memsvc bench context-capacity`.

    Args:
        variants: the memories, by name.
        facts: after how many it is asked for all of them, ascending.
        seeds: how often, with other keys and weights; a figure is their mean.
    """
    prepare_thread(THREADS)
    figures: dict[str, Any] = {"seeds": seeds}
    for name, config in told(variants.items(), "memories"):
        row: dict[str, float] = {"numbers": sum(rows * columns for rows, columns in config.shapes)}
        for count, *of_seeds in zip(facts, *(held(config, facts, seed) for seed in range(seeds)), strict=True):
            row[f"exact_of_{count}"] = statistics.fmean(each.exact for each in of_seeds)
        figures[name] = row
    return Result(machine=describe_machine(), command="memsvc bench context-capacity", figures=figures)
