"""Duplicates merged or kept: what it does to recall on conversations, as they are and with every turn written again.

A hit counts for the turn that its text is, whichever copy is found.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from memsvc.engine.runner import Runner, prepare_thread
from memsvc.memory.config import MemoryConfig
from memsvc.recall.encoder import load_encoder
from memsvc.recall.rank import RankConfig, rank
from memsvc.tenant.policies import Duplicates, Policies
from memsvc_bench import locomo
from memsvc_bench.corpus import Stream
from memsvc_bench.progress import told
from memsvc_bench.remembering import Remembering
from memsvc_bench.report import Check, Result, describe_machine
from memsvc_bench.retrieval import KS, THREADS, Floats, folded, interval, recall_at

COPIES = 5
"""How often each turn is written where it is written again."""
ORDERS: Mapping[str, Callable[[int], list[int]]] = MappingProxyType(
    {
        "as it is": lambda turns: list(range(turns)),
        f"each turn {COPIES} times": lambda turns: [turn for turn in range(turns) for _ in range(COPIES)],
        f"all of it {COPIES} times": lambda turns: [turn for _ in range(COPIES) for turn in range(turns)],
    }
)
"""Which turns of a conversation are written, and in which order."""
PLAIN, AT_ONCE, *_ = ORDERS


def bench(data: Path, *, encoder: str = "minilm") -> Result:
    """`memsvc bench duplicates`.

    Args:
        data: a LoCoMo file.
        encoder: by name.

    Raises:
        ValueError: the file is not LoCoMo's.
    """
    prepare_thread(THREADS)
    streams = locomo.load(data)
    remembering = Remembering(load_encoder(encoder, threads=THREADS, dtype="auto"))
    rows: dict[str, dict[str, Any]] = {}
    at: dict[tuple[str, str], Floats] = {}
    for order, duplicates in told([(order, each.value) for order in ORDERS for each in Duplicates], "folds"):
        counts, at[order, duplicates] = _recall(remembering, streams, ORDERS[order], duplicates)
        apart = at[order, duplicates] - at[PLAIN, "keep"]
        rows[f"{order}, {duplicates}"] = {
            **counts,
            **{f"@{k}": float(at[order, duplicates][:, j].mean()) for j, k in enumerate(KS)},
            **{f"@{k}, less {PLAIN}": _difference(apart[:, j]) for j, k in enumerate(KS) if k in {1, 10}},
        }
    lost = {k: at[PLAIN, "keep"][:, j] - at[PLAIN, "merge"][:, j] for j, k in enumerate(KS)}
    ten = KS.index(10)
    changed = np.abs(at[AT_ONCE, "merge"] - at[PLAIN, "merge"]).max()
    return Result(
        machine=describe_machine(),
        command=f"memsvc bench duplicates --data {data.name}",
        figures={
            "corpus": locomo.digest(data),
            "questions": sum(len(stream.questions) for stream in streams),
            **rows,
        },
        checks=[
            *(Check.at_most(f"lost by merging @{k}", float(apart.mean()), 0.0) for k, apart in lost.items()),
            Check.at_most("changed by copies that merge, any question", float(changed), 0.0),
            Check.at_least(
                "lost to copies that are kept @10",
                float((at[PLAIN, "keep"] - at[AT_ONCE, "keep"])[:, ten].mean()),
                0.05,
            ),
        ],
    )


def _difference(differences: Floats) -> str:
    low, mean, high = interval(differences)
    return f"{mean:+.3f} [{low:+.3f}, {high:+.3f}]"


def _recall(
    encoder: Remembering, streams: Sequence[Stream], order: Callable[[int], list[int]], duplicates: str
) -> tuple[dict[str, int], Floats]:
    """Return how many entries there were, were merged, and tokens were learnt, and each question's recall, [n, KS]."""
    runner = Runner(encoder, slots=len(streams))
    counts = dict.fromkeys(("entries", "merged", "tokens_learnt"), 0)
    rows: list[list[float]] = []
    for stream in streams:
        turns = order(len(stream.entries))
        written = stream._replace(entries=[stream.entries[turn] for turn in turns])
        config = replace(MemoryConfig(), width=encoder.dim)
        view = folded(runner, written, config, Policies(duplicates=duplicates))
        counts["entries"] += view.index.living
        counts["merged"] += view.index.merged
        counts["tokens_learnt"] += view.totals.tokens
        for question in stream.questions:
            found = rank(view.index, runner.query(stream.name, question.text), RankConfig(), max(KS))
            rows.append(recall_at([turns[hit.number - 1] for hit in found], question.gold))
        runner.detach(stream.name)
    return counts, np.array(rows)
