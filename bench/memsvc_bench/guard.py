"""What must not get slower: our own paths over the bare work inside them, by turns in one run.

A wall time says as much about the machine as about the code. A ratio of two things that take turns does not; each
side's fastest turn counts, which other work on the machine delays least.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import torch
from memsvc_client import Entry, MemoryClient

from memsvc.engine.runner import prepare_thread
from memsvc.memory.config import MemoryConfig
from memsvc.memory.state import MemoryStack
from memsvc.memory.step import read, update
from memsvc.recall.encoder import load_encoder
from memsvc.recall.index import Index
from memsvc.recall.rank import Query, RankConfig, rank
from memsvc.recall.rows import NewEntry
from memsvc_bench.progress import told
from memsvc_bench.report import Check, Result, describe_machine
from memsvc_bench.server_process import ServerProcess
from memsvc_bench.service_texts import Synthetic

DIM = 384
K = 10
BATCH = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How much is measured."""

    encoder: str = "minilm"
    entries: int = 10_000
    """In the index that is ranked."""
    turns: int = 30
    threads: int = 1


FULL = Scale()
QUICK = Scale(encoder="kmer", entries=500, turns=2)


class Guard(NamedTuple):
    """One of our paths, the work that it cannot do without, and how many times as long it may take."""

    name: str
    ours: Callable[[], object]
    bare: Callable[[], object]
    most: float


def bench(*, scale: Scale = FULL) -> Result:
    """`memsvc bench guard`.

    Raises:
        RuntimeError: the server did not start.
    """
    prepare_thread(scale.threads)
    figures: dict[str, Any] = {"load_average_before": os.getloadavg()[0], "turns": scale.turns}
    checks: list[Check] = []
    with _guards(scale) as guards:
        for guard in told(guards, "guards"):
            ours, bare = fastest((guard.ours, guard.bare), scale.turns)
            figures[guard.name] = {"ours_us": ours * 1e6, "bare_us": bare * 1e6, "ratio": ours / bare}
            checks.append(Check.at_most(guard.name, ours / bare, guard.most))
    return Result(machine=describe_machine(), command="memsvc bench guard", figures=figures, checks=checks)


def fastest(calls: Sequence[Callable[[], object]], turns: int) -> list[float]:
    """Call each by turns, once more than asked to warm up; return the seconds of each one's fastest turn."""
    best = [float("inf")] * len(calls)
    for turn in range(turns + 1):
        for i, call in enumerate(calls):
            start = time.perf_counter()
            call()
            if turn:
                best[i] = min(best[i], time.perf_counter() - start)
    return best


@contextmanager
def _guards(scale: Scale) -> Iterator[list[Guard]]:
    with _service() as of_service:
        yield [*_memory(), _ranking(scale), _encoding(scale), *of_service]


def _memory() -> Iterator[Guard]:
    config = MemoryConfig(layers=2, width=DIM, chunk=BATCH)
    stack = MemoryStack(config, 1)
    tokens = torch.nn.functional.normalize(
        torch.randn(1, BATCH, DIM, generator=torch.Generator().manual_seed(0)), dim=-1
    )
    rows, out = tokens[0], torch.empty(BATCH, DIM)
    weight, gradient, state = torch.randn(DIM, DIM), torch.empty(DIM, DIM), torch.randn(4, DIM, DIM)

    def products() -> None:
        """The closed form's at depth 2: 14 d² FLOPs a token.

        Four products go into weights and momentum, which every step reads and writes. Without that the ratio says how
        fast the machine's memory is.
        """
        for _ in range(3):
            torch.mm(rows, weight, out=out)
        for into in state:
            torch.mm(rows.T, rows, out=gradient)
            into.mul_(0.9).add_(gradient)

    def two() -> None:
        for _ in range(2):
            torch.mm(rows, weight, out=out)

    yield Guard(
        "a memory's step over its products and its state",
        lambda: update(stack, [0], [config], [0.0], tokens),
        products,
        2.0,
    )
    yield Guard("a memory's read over its matrix products", lambda: read(stack, 0, rows), two, 3.0)


def _ranking(scale: Scale) -> Guard:
    made, index = Synthetic(scale.entries, DIM), Index(DIM)
    for block in made.blocks():
        index.add(
            [
                NewEntry(
                    number=number,
                    seq=number,
                    time_us=0,
                    session=session,
                    role="",
                    text=text,
                    metadata_json="{}",
                    vectors=vector[None],
                    spans=np.array([[0, len(text)]], np.int32),
                    tokens=len(text.split()),
                )
                for number, text, session, vector in zip(
                    count(block.first + 1), block.texts, block.sessions, block.vectors, strict=False
                )
            ]
        )
    vectors, query = made.vectors(), made.vectors()[0]
    asked, config = Query(made.queries(1)[0], query, query), RankConfig()

    def cosine() -> object:
        scores = vectors @ query
        return np.argpartition(-scores, K)[:K]

    return Guard("ranking by all signals over a cosine", lambda: rank(index, asked, config, K), cosine, 12.0)


def _encoding(scale: Scale) -> Guard:
    encoder = load_encoder(scale.encoder, threads=scale.threads)
    texts = Synthetic(BATCH, DIM).queries(BATCH)
    passages = [split.passages[0] for split in encoder.split(texts)]
    return Guard(
        "encoding texts together over one by one",
        lambda: encoder.encode(passages),
        lambda: [encoder.encode_alone(passage) for passage in passages],
        1.0,
    )


@contextmanager
def _service() -> Iterator[list[Guard]]:
    """A server with a fast encoder, so that what surrounds it shows."""
    tenant, number = "guarded", count()
    with (
        TemporaryDirectory() as scratch,
        ServerProcess(Path(scratch) / "data", ["--encoder", "kmer", "--threads", "1"]) as server,
        MemoryClient(server.target, timeout=60.0) as client,
    ):
        client.create_tenant(tenant)
        client.write(
            tenant, [Entry(f"Entry {i} of the guarded tenant", id=str(i)) for i in range(BATCH)], wait="applied"
        )

        def write(entries: int) -> Callable[[], object]:
            return lambda: client.write(
                tenant, [Entry(f"One more entry, {i}", id=f"more-{next(number)}") for i in range(entries)]
            )

        def get() -> object:
            return client.get_entry(tenant, "0")

        yield [
            Guard(f"writing {BATCH} entries at once over writing one", write(BATCH), write(1), 6.0),
            Guard("a recall over a get", lambda: client.recall(tenant, "the guarded tenant", k=K), get, 6.0),
        ]
