"""What might lift the learned memory over the ridge residual: second-order steps, learned initial weights, more passes.

Each lever is the default memory in the same stream and ranking, with one thing changed. Initial weights are what the
default memory learnt of the other corpus: the manual's for conversations, the conversations' for the manual.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import torch

from memsvc.engine.runner import Runner, prepare_thread
from memsvc.memory.config import MemoryConfig
from memsvc.memory.state import MemoryStack
from memsvc.recall.encoder import Encoder, load_encoder
from memsvc_bench import documents, locomo
from memsvc_bench.corpus import Stream
from memsvc_bench.lever_backend import Change, LeverDevice, Orthogonal, SecondOrder
from memsvc_bench.memory import dense_recall, merge
from memsvc_bench.progress import told
from memsvc_bench.remembering import Remembering
from memsvc_bench.report import Check, Result, describe_machine
from memsvc_bench.retrieval import THREADS, Floats, folded, interval

OTHER = MappingProxyType({"locomo": "documents", "merged": "documents", "documents": "merged"})
"""The corpus that initial weights are learnt from."""
WORTH = 0.01
"""A lever that gains more than this on every corpus should be the default."""


class Lever(NamedTuple):
    """One thing that is changed."""

    change: Callable[[], Change] | None = None
    """Of the steps."""
    start: float = 0.0
    """How much of what was learnt of the other corpus the initial weights have."""
    settings: Mapping[str, Any] = MappingProxyType({})
    """Of the memory."""


LEVERS: Mapping[str, Lever] = MappingProxyType(
    {
        "second order, damping 1": Lever(lambda: SecondOrder(1.0, 2.0)),
        "second order, damping .1": Lever(lambda: SecondOrder(0.1, 4.0)),
        "second order, damping .1, gain 10": Lever(lambda: SecondOrder(0.1, 10.0)),
        "orthogonal momentum, .003": Lever(lambda: Orthogonal(0.003)),
        "orthogonal momentum, .01": Lever(lambda: Orthogonal(0.01)),
        "learned initial weights": Lever(start=1.0),
        "learned initial weights, halved": Lever(start=0.5),
        "replay after every chunk": Lever(settings=MappingProxyType({"replay": 1})),
        "replay after every chunk, gain 2": Lever(settings=MappingProxyType({"replay": 1, "replay_gain": 2.0})),
    }
)


def bench(data: Path, *, levers: Mapping[str, Lever] = LEVERS, encoder: str = "minilm") -> Result:
    """`memsvc bench levers`.

    Args:
        data: a LoCoMo file.
        levers: what to compare with the default memory.
        encoder: by name.

    Raises:
        ValueError: the file is not LoCoMo's.
    """
    prepare_thread(THREADS)
    conversations = locomo.load(data)
    corpora = {"locomo": conversations, "merged": [merge(conversations)], "documents": [documents.load()]}
    remembering = Remembering(load_encoder(encoder, threads=THREADS, dtype="auto"))
    at = compare(remembering, corpora, levers)
    figures: dict[str, Any] = {"corpora": f"LoCoMo {locomo.digest(data)}, documents {documents.digest()}"}
    for label, rows in at.items():
        figures[label] = {}
        for corpus, values in rows.items():
            low, mean, high = interval(values - at["default"][corpus])
            figures[label][f"{corpus} @10"] = float(values.mean())
            figures[label][f"{corpus}, less default"] = f"{mean:+.3f} [{low:+.3f}, {high:+.3f}]"
    least = max(min(float((at[name][c] - at["default"][c]).mean()) for c in corpora) for name in levers)
    return Result(
        machine=describe_machine(),
        command=f"memsvc bench levers --data {data.name}",
        figures=figures,
        checks=[Check.at_most("the best lever's least gain over the default, of all corpora", least, WORTH)],
    )


def compare(
    encoder: Encoder, corpora: Mapping[str, Sequence[Stream]], levers: Mapping[str, Lever]
) -> dict[str, dict[str, Floats]]:
    """Return dense recall@10 of each question by corpus, for the ridge residual, the default memory and each lever.

    Args:
        encoder: of texts and questions.
        corpora: `locomo`, `merged` and `documents`.
        levers: by name.
    """
    learnt = {corpus: learnt_of(encoder, corpora[corpus][0]) for corpus in sorted(set(OTHER.values()))}
    beside = {corpus: dense_recall(encoder, streams, {}, beside=True) for corpus, streams in corpora.items()}
    at = {
        label: {corpus: found[way] for corpus, found in beside.items()}
        for label, way in (("ridge residual", "ridge residual"), ("default", "memory"))
    }
    for name, lever in told(levers.items(), "levers"):
        at[name] = {
            corpus: _pulled(encoder, streams, lever, learnt[OTHER[corpus]]) for corpus, streams in corpora.items()
        }
    return at


def learnt_of(encoder: Encoder, stream: Stream) -> torch.Tensor:
    """Return what the default memory learns of a stream, [L, d, d]."""
    runner, config = Runner(encoder, slots=1), MemoryConfig(width=encoder.dim)
    folded(runner, stream, config)
    stack = MemoryStack(config, 1)
    if (weights := runner.weights(stream.name)) is not None:
        stack.load(0, weights)
    return stack.delta[0].clone()


def _pulled(encoder: Encoder, streams: Sequence[Stream], lever: Lever, learnt: torch.Tensor) -> Floats:
    start = lever.start * learnt if lever.start else None
    device = LeverDevice(lever.change() if lever.change else None, start)
    return dense_recall(encoder, streams, lever.settings, device=device)["memory"]
