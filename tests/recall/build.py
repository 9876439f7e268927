"""Small random indexes, and strategies for their entries."""

import json
import random

import numpy as np

from memsvc.recall.index import Index
from memsvc.recall.rank import Query
from memsvc.recall.rows import NewEntry

DIM = 16
WORDS = [
    "river",
    "stone",
    "bread",
    "winter",
    "harbour",
    "lantern",
    "copper",
    "violin",
    "我的猫",
    "привет",
    "café",
    "🎉",
]


def unit(rng: np.random.Generator, rows: int, dim: int = DIM) -> np.ndarray:
    x = rng.standard_normal((rows, dim)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def entries(seed: int, count: int, *, sessions: int = 4, passages: int = 3) -> list[NewEntry]:
    """Entries of several passages in interleaved sessions, some of none, several to a seq, with gaps in the numbers."""
    rng, dice = np.random.default_rng(seed), random.Random(seed)
    made = []
    number = seq = 0
    for _ in range(count):
        number += dice.choice([1, 1, 1, 5])
        seq += dice.choice([0, 0, 1, 3])
        p = dice.randint(1, passages)
        made.append(
            NewEntry(
                number=number,
                seq=max(seq, 1),
                time_us=dice.randint(0, 1000),
                session=dice.choice(["", *(f"s{i}" for i in range(sessions))]),
                role=dice.choice(["", "user", "assistant"]),
                text=" ".join(dice.choices(WORDS, k=dice.randint(0, 12))),
                metadata_json=json.dumps(
                    {k: dice.choice([1, 2.5, "a", "b", True, None]) for k in dice.choice(["", "x", "xy"])}
                ),
                vectors=unit(rng, p),
                spans=np.array([[10 * i, 10 * i + 12] for i in range(p)], np.int32),
                tokens=7,
            )
        )
    return made


def query(seed: int, words: int = 4) -> Query:
    rng, dice = np.random.default_rng(seed), random.Random(seed)
    pooled, surprise = unit(rng, 2)
    return Query(" ".join(dice.choices(WORDS, k=words)), pooled, surprise)


def index_of(made: list[NewEntry], batch: int = 7) -> Index:
    index = Index(DIM)
    for start in range(0, len(made), batch):
        index.add(made[start : start + batch])
    return index
