"""The learned memory against its bar: dense recall by depth, step, momentum, forgetting, gate and replay.

Every variant changes one setting of the default. Text is encoded once; each variant folds the same streams anew.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from memsvc.engine.runner import Runner, prepare_thread
from memsvc.memory.config import MemoryConfig
from memsvc.memory.device import CpuDevice, Device
from memsvc.recall.encoder import Encoder, load_encoder
from memsvc.recall.rank import rank
from memsvc_bench import documents, locomo
from memsvc_bench.corpus import Passage, Question, Stream
from memsvc_bench.progress import told
from memsvc_bench.remembering import Remembering
from memsvc_bench.report import Check, Result, describe_machine
from memsvc_bench.retrieval import DENSE, KS, THREADS, Controls, Floats, folded, interval, queries_of, recall_at

VARIANTS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "default": {},
        "4 layers": {"layers": 4},
        "8 layers": {"layers": 8},
        "12 layers": {"layers": 12},
        "no replay": {"replay": 0},
        "replay after 2 chunks": {"replay": 2},
        "replay after 8 chunks": {"replay": 8},
        "replay gain 1": {"replay_gain": 1.0},
        "replay gain 8": {"replay_gain": 8.0},
        "theta / 4": {"theta": MemoryConfig().theta / 4},
        "theta * 4": {"theta": MemoryConfig().theta * 4},
        "eta 0": {"eta": 0.0},
        "eta .995": {"eta": 0.995},
        "half-life 5,000": {"half_life": 5_000.0},
        "never forgets": {"half_life": 0.0},
        "chunk 64": {"chunk": 64},
        "chunk 256": {"chunk": 256},
        "gate: upper half": {"gate": "quantile", "gate_value": 0.5},
        "gate: upper tenth": {"gate": "quantile", "gate_value": 0.9},
    }
)
WHOLE, ROUNDED = "products in float32", "products in bfloat16"
PRODUCTS: Mapping[str, torch.dtype] = MappingProxyType({WHOLE: torch.float32, ROUNDED: torch.bfloat16})
"""The default in both ways of multiplying. All others are stepped in the one that a server would choose here."""
RIDGE_SHARE = 1.0
"""The wish: the memory's dense recall over the ridge residual's."""
ROUNDED_SHARE = 0.99
"""Recall of the memory that multiplies bfloat16, over that of the one that multiplies float32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How much is measured."""

    variants: Sequence[str] = (*VARIANTS, *PRODUCTS)
    """Names of what is compared, `default` and those of `PRODUCTS` among them."""
    encoder: str = "minilm"
    passages: int | None = None
    """Of the documents, the first so many; None for all."""


FULL = Scale()
QUICK = Scale(variants=("default", "no replay", *PRODUCTS), encoder="kmer", passages=60)


def bench(data: Path, *, scale: Scale = FULL) -> Result:
    """`memsvc bench memory`.

    Args:
        data: a LoCoMo file.
        scale: how much to measure.

    Raises:
        ValueError: the file is not LoCoMo's.
    """
    prepare_thread(THREADS)
    conversations = locomo.load(data)
    corpora = {
        "locomo": conversations,
        "merged": [merge(conversations)],
        "documents": [_first(documents.load(), scale.passages)],
    }
    remembering = Remembering(load_encoder(scale.encoder, threads=THREADS, dtype="auto"))
    figures: dict[str, Any] = {"corpora": f"LoCoMo {locomo.digest(data)}, documents {documents.digest()}"}
    at: dict[str, dict[str, Floats]] = {}
    for name in told(scale.variants, "memories"):
        beside, device = name == "default", CpuDevice(PRODUCTS[name]) if name in PRODUCTS else None
        found = {
            corpus: dense_recall(remembering, streams, VARIANTS.get(name, {}), beside=beside, device=device)
            for corpus, streams in corpora.items()
        }
        for way in found["locomo"]:
            label = name if way == "memory" else way
            at[label] = {corpus: rows[way] for corpus, rows in found.items()}
    for label, rows in at.items():
        figures[label] = {}
        for corpus, values in rows.items():
            low, mean, high = interval(values - at["default"][corpus])
            figures[label][f"{corpus} @10"] = float(values.mean())
            figures[label][f"{corpus}, less default"] = f"{mean:+.3f} [{low:+.3f}, {high:+.3f}]"
    checks = [
        Check.at_least(
            f"{corpus}: dense memory over ridge residual",
            float(at["default"][corpus].mean() / at["ridge residual"][corpus].mean()),
            RIDGE_SHARE,
        )
        for corpus in corpora
    ]
    checks += [
        Check.at_least(
            f"{corpus}: dense memory, {ROUNDED} over float32",
            float(at[ROUNDED][corpus].mean() / at[WHOLE][corpus].mean()),
            ROUNDED_SHARE,
        )
        for corpus in corpora
    ]
    command = f"memsvc bench memory --data {data.name}"
    return Result(machine=describe_machine(), command=command, figures=figures, checks=checks)


def _first(stream: Stream, passages: int | None) -> Stream:
    """Return the first so many of its entries, and what is answered by them alone; all for None."""
    if passages is None:
        return stream
    questions = [question for question in stream.questions if max(question.gold) < passages]
    return stream._replace(entries=stream.entries[:passages], questions=questions)


def merge(streams: Sequence[Stream]) -> Stream:
    """Return all conversations as one tenant's stream, one after the other."""
    entries: list[Passage] = []
    questions: list[Question] = []
    for stream in streams:
        first = len(entries)
        entries += [passage._replace(session=f"{stream.name}/{passage.session}") for passage in stream.entries]
        questions += [
            Question(q.text, frozenset(first + gold for gold in q.gold), q.category) for q in stream.questions
        ]
    return Stream("merged", entries, questions)


def dense_recall(
    encoder: Encoder,
    streams: Sequence[Stream],
    changes: Mapping[str, Any],
    *,
    beside: bool = False,
    device: Device | None = None,
) -> dict[str, Floats]:
    """Return dense recall@10 of each question: with memory, and, if asked, with what it is held against.

    Args:
        encoder: of texts and questions.
        streams: a tenant each, one after the other.
        changes: of the memory's settings.
        beside: whether what it is held against is measured as well.
        device: where the memories are stepped; the CPU unless told otherwise.
    """
    runner = Runner(encoder, slots=1, device=device)
    config = replace(MemoryConfig(width=encoder.dim), **changes)
    rows: dict[str, list[float]] = {}
    for stream in streams:
        view = folded(runner, stream, config)
        fitted = Controls.of(view.index.texts.vectors.slice(0, view.index.passages)) if beside else None
        for question in stream.questions:
            if fitted is None:
                queries = {"memory": runner.query(stream.name, question.text)}
            else:
                queries = queries_of(runner, fitted, stream.name, None, question.text)
            for way, query in queries.items():
                found = rank(view.index, query, DENSE, max(KS))
                recalled = recall_at([r.number - 1 for r in found], question.gold)
                rows.setdefault(way, []).append(recalled[KS.index(10)])
        runner.detach(stream.name)
    return {way: np.array(values) for way, values in rows.items()}
