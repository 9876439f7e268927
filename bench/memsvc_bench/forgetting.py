"""What the memory alone holds and for how long: made-up facts are told, then Python's manual is read over them.

A fact is *read back* where the memory expects its sentence better than nearly all that it was never told: where
‖q − M(q)‖ / ‖q‖ is below the lowest twentieth of that of as many facts of the same kind that were never written.
Chance is .05. Sentences differ in how well they are expected by more than telling one changes; so beside it, a fact is
*told from its twin* where it is expected better than the same fact with other places and numbers. Chance is .5.

No index is asked; the text is encoded once, and each setting folds the same entries, one fact each.

Forgetting: the share of FACTS read back after N tokens of the manual. Capacity: the share of all that were told, right
after the last. Up to a chunk of tokens, some ten facts, waits in the tail then and is not learnt yet.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import cycle, product
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import torch

from memsvc.engine.runner import Runner, prepare_thread
from memsvc.memory.config import MemoryConfig
from memsvc.memory.state import MemoryStack
from memsvc.memory.step import read
from memsvc.recall.encoder import load_encoder
from memsvc_bench import documents
from memsvc_bench.corpus import Passage, Stream
from memsvc_bench.facts import facts
from memsvc_bench.remembering import Remembering
from memsvc_bench.report import Check, Result, describe_machine
from memsvc_bench.retrieval import THREADS, Floats, followed

CHANCE = 0.05
"""The quantile of the never-written below which a fact is read back."""
HELD = 0.5
"""The wish: the share that the default reads back before anything else is read."""
DEFAULT, NEVER = "half-life 20,000 (default)", "never forgets"
SETTINGS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        DEFAULT: {},
        "half-life 5,000": {"half_life": 5_000.0},
        "half-life 100,000": {"half_life": 100_000.0},
        NEVER: {"half_life": 0.0},
        "gate: upper half": {"gate": "quantile", "gate_value": 0.5},
        "gate: upper tenth": {"gate": "quantile", "gate_value": 0.9},
        "no replay": {"replay": 0},
    }
)
CAPACITY = (DEFAULT, NEVER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How much is told and read."""

    encoder: str = "minilm"
    facts: int = 1_000
    """Told before the manual, and as many never."""
    after: tuple[int, ...] = (0, 5_000, 10_000, 20_000, 50_000, 100_000)
    """Tokens of the manual, ascending, after which facts are read back; the manual begins anew at its end."""
    told: tuple[int, ...] = (100, 300, 1_000, 3_000)
    """Facts, ascending, after which all of them are read back."""


FULL = Scale()
QUICK = Scale(encoder="kmer", facts=40, after=(0, 1_000, 3_000), told=(20, 60))


class Reading(NamedTuple):
    """What a memory makes of facts at one time."""

    share: float
    """Of the written ones that are read back."""
    twin: float
    """Of the written ones that are told from their twins."""
    written: float
    """Mean residual ‖q − M(q)‖ / ‖q‖."""
    never: float
    """The same of those never written."""


KINDS: Mapping[str, str] = MappingProxyType(
    {
        "share": "read back",
        "twin": "told from twin",
        "written": "residual if written",
        "never": "residual if never written",
    }
)
"""What a reading's fields are called."""


def bench(*, scale: Scale = FULL) -> Result:
    """`memsvc bench forgetting`."""
    prepare_thread(THREADS)
    run = _Run(scale)
    forgetting = {name: run.forgetting(changes) for name, changes in SETTINGS.items()}
    figures: dict[str, Any] = {
        "corpus": documents.digest(),
        "facts": scale.facts,
        "never_written": scale.facts,
        "tokens_of_the_facts": run.fact_tokens,
        "tokens_of_the_manual": run.manual_tokens,
        "chance": CHANCE,
    }
    capacity = {name: run.capacity(SETTINGS[name]) for name in CAPACITY}
    for kind, name in product(Reading._fields, SETTINGS):
        figures[f"{KINDS[kind]}, {name}"] = _row(f"{KINDS[kind]} after {{}}", scale.after, forgetting[name], kind)
    for kind, name in product(Reading._fields[:2], CAPACITY):
        figures[f"{KINDS[kind]} of all told, {name}"] = _row(f"{KINDS[kind]} of {{}}", scale.told, capacity[name], kind)
    last = forgetting[NEVER][-1].share - forgetting[DEFAULT][-1].share
    return Result(
        machine=describe_machine(),
        command="memsvc bench forgetting",
        figures=figures,
        checks=[
            Check.at_least("default, read back at once", forgetting[DEFAULT][0].share, HELD),
            Check.at_least(f"never forgets less default, after {scale.after[-1]:,}", last, 0.0),
        ],
    )


def _row(label: str, numbers: Sequence[int], readings: Sequence[Reading], kind: str) -> dict[str, float]:
    pairs = zip(numbers, readings, strict=True)
    return {label.format(f"{number:,}"): float(getattr(reading, kind)) for number, reading in pairs}


class _Run:
    """One run: its texts, encoded once."""

    def __init__(self, scale: Scale) -> None:
        self._scale = scale
        self._encoder = Remembering(load_encoder(scale.encoder, threads=THREADS, dtype="auto"))
        self._runner = Runner(self._encoder, slots=1)
        made = facts(max(scale.facts, *scale.told) + scale.facts, seed=0)
        # The never-written come first: it is the ends of lists that are told more or less of.
        self._told = [fact.text for fact in made[scale.facts :]]
        vectors = self._vectors([fact.text for fact in made])
        self._never, self._written = vectors[: scale.facts], vectors[scale.facts :]
        self._twins = self._vectors([fact.twin for fact in made[scale.facts :]])
        manual = [entry.text for entry in documents.load().entries]
        self._vectors(manual)
        tokens = self._encoder.count_tokens(manual)
        self.fact_tokens = sum(self._encoder.count_tokens(self._told[: scale.facts]))
        self.manual_tokens = sum(tokens)
        self._manual: list[str] = []
        self._places: list[int] = []
        """How many passages of the manual there are after each number of tokens."""
        read, passages = 0, cycle(zip(manual, tokens, strict=True))
        for after in scale.after:
            while read < after:
                text, count = next(passages)
                self._manual.append(text)
                read += count
            self._places.append(len(self._manual))

    def forgetting(self, changes: Mapping[str, Any]) -> list[Reading]:
        """Return what is read back of the facts after each number of tokens of the manual."""
        count = self._scale.facts
        at = [count + place for place in self._places]
        found = self._read(changes, [*self._told[:count], *self._manual], dict.fromkeys(at, count))
        return [found[entries] for entries in at]

    def capacity(self, changes: Mapping[str, Any]) -> list[Reading]:
        """Return what is read back of each number of facts right after the last."""
        at = {count: count for count in self._scale.told}
        return list(self._read(changes, self._told[: max(at)], at).values())

    def _read(self, changes: Mapping[str, Any], texts: Sequence[str], at: Mapping[int, int]) -> dict[int, Reading]:
        """Fold the texts, an entry and a record each; after so many, say what the memory makes of so many facts."""
        config = replace(MemoryConfig(width=self._encoder.dim), **changes)
        stream = Stream("facts", [Passage("", text) for text in texts], [])
        found: dict[int, Reading] = {}
        for view in followed(self._runner, stream, config, batch=1):
            if (entries := len(view.index)) in at:
                stack = MemoryStack(config, 1)
                if (weights := self._runner.weights(stream.name)) is not None:
                    stack.load(0, weights)
                count = at[entries]
                written, never, twins = (
                    _residuals(stack, vectors) for vectors in (self._written[:count], self._never, self._twins[:count])
                )
                found[entries] = Reading(
                    share=float((written < np.quantile(never, CHANCE)).mean()),
                    twin=float((written < twins).mean()),
                    written=float(written.mean()),
                    never=float(never.mean()),
                )
        self._runner.detach(stream.name)
        return found

    def _vectors(self, texts: Sequence[str]) -> Floats:
        """Return each text's vector, [n, d], as its entry's; it is remembered, so that folding need not encode it."""
        splits = self._encoder.split(texts)
        encoded = iter(self._encoder.encode([passage for split in splits for passage in split.passages]))
        return np.stack([np.mean([next(encoded).pooled for _ in split.passages], axis=0) for split in splits])


def _residuals(stack: MemoryStack, vectors: Floats) -> Floats:
    """Return ‖q − M(q)‖ / ‖q‖ of each vector, [n]."""
    q = torch.from_numpy(vectors)
    residual: Floats = (
        torch.linalg.vector_norm(q - read(stack, 0, q), dim=1) / torch.linalg.vector_norm(q, dim=1)
    ).numpy()
    return residual
