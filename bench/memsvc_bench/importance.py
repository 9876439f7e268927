"""Which entries a full tenant keeps: importance, beside what else could choose, by the questions they still answer.

Each conversation is one tenant that may keep half of its turns. Ours is the real fold, whose view evicts by itself. The
others choose by the same schedule (past the cap, after a record, the worst leave down to nine tenths of it) from what
was known then; of equals the older leave. The memory is the same under all of them, for what left was learnt before.

    random                     DRAWS draws, averaged
    oldest leave               by age
    least used leave           use: being among the 10 best when an earlier turn with a question mark is asked
    least often used leave     the same, for each turn asked since the entry was written; the unasked stay
    shortest leave             by tokens
    least surprising leave     by mean surprise when stepped

The formula of importance was chosen on the same conversations (docs/memory.md); the others have nothing to choose.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from memsvc.engine.runner import Runner, prepare_thread
from memsvc.memory.config import MemoryConfig
from memsvc.memory.importance import Floats, lowest, surplus
from memsvc.recall.encoder import load_encoder
from memsvc.recall.index import Index
from memsvc.recall.rank import Query, RankConfig, rank
from memsvc.tenant.policies import Policies
from memsvc_bench import locomo
from memsvc_bench.corpus import Stream
from memsvc_bench.remembering import Remembering
from memsvc_bench.report import Check, Result, describe_machine
from memsvc_bench.retrieval import BATCH, KS, THREADS, folded, followed, interval, recall_at

K = 10
DRAWS = 10
"""Of random."""
OURS, ALL, RANDOM = "importance (ours)", "no cap", "random"
RIVALS = (RANDOM, "oldest leave", "least used leave")
"""What importance has to beat."""

Mask = NDArray[np.bool_]


class Known(NamedTuple):
    """What is known of the first n entries after a record, [n] each."""

    tokens: Floats
    surprise: Floats
    """Mean when stepped; infinite where none was, so that what is not known yet stays."""
    used: Floats
    """How often an entry was among the 10 best."""
    asked: Floats
    """How many turns were asked since it was written."""


class Step(NamedTuple):
    """A tenant after one record."""

    size: int
    """Entries written so far."""
    surprise: Floats
    """[size]."""
    rankings: list[list[int]]
    """For each question among the turns of the next record, all entries' places, best first."""


class Kept(NamedTuple):
    """What one policy kept of one stream."""

    recall: Floats
    """[questions], recall@10."""
    answers: Floats
    """[questions], the share of the answering entries that are kept."""
    entries: int
    """How many are kept."""


POLICIES: Mapping[str, Callable[[Known], Floats]] = MappingProxyType(
    {
        "oldest leave": lambda known: np.arange(len(known.tokens), dtype=np.float64),
        "least used leave": lambda known: known.used,
        "least often used leave": lambda known: np.where(known.asked > 0, known.used / np.maximum(known.asked, 1), 1.0),
        "shortest leave": lambda known: known.tokens,
        "least surprising leave": lambda known: known.surprise,
    }
)
"""What an entry is worth to each policy; the least leaves."""


def bench(data: Path, *, draws: int = DRAWS, encoder: str = "minilm") -> Result:
    """`memsvc bench importance`.

    Args:
        data: a LoCoMo file.
        draws: of random.
        encoder: by name.

    Raises:
        ValueError: the file is not LoCoMo's.
    """
    prepare_thread(THREADS)
    streams = [stream for stream in locomo.load(data) if stream.questions]
    runner = Runner(Remembering(load_encoder(encoder, threads=THREADS, dtype="auto")), slots=1)
    kept = [measure(runner, stream, draws) for stream in streams]
    ours = np.concatenate([of_stream[OURS].recall for of_stream in kept])
    figures: dict[str, Any] = {
        "questions": len(ours),
        "entries": sum(len(stream.entries) for stream in streams),
        "corpus": locomo.digest(data),
        "draws_of_random": draws,
    }
    mean: dict[str, float] = {}
    for policy in kept[0]:
        recall = np.concatenate([of_stream[policy].recall for of_stream in kept])
        answers = np.concatenate([of_stream[policy].answers for of_stream in kept])
        low, difference, high = interval(recall - ours)
        mean[policy] = float(recall.mean())
        figures[policy] = {
            f"@{K}": mean[policy],
            "less ours": f"{difference:+.3f} [{low:+.3f}, {high:+.3f}]",
            "answers kept": float(answers.mean()),
            "entries kept": sum(of_stream[policy].entries for of_stream in kept),
        }
    for stream, of_stream in zip(streams, kept, strict=True):
        figures[stream.name] = {
            "entries": len(stream.entries),
            "questions": len(stream.questions),
            **{f"@{K}, {policy}": float(found.recall.mean()) for policy, found in of_stream.items()},
        }
    return Result(
        machine=describe_machine(),
        command=f"memsvc bench importance --data {data.name}",
        figures=figures,
        checks=[Check.at_least(f"importance less {rival}, @{K}", mean[OURS] - mean[rival], 0.0) for rival in RIVALS],
    )


def measure(runner: Runner, stream: Stream, draws: int) -> dict[str, Kept]:
    """Return what each policy keeps of a stream, and what the questions find among it."""
    n, config = len(stream.entries), MemoryConfig(width=runner.encoder.dim)
    cap = n // 2
    index = folded(runner, stream, config, Policies(max_entries=cap)).index
    stays = np.array([not index.is_evicted(place + 1) for place in range(n)])
    queries = [runner.query(stream.name, question.text) for question in stream.questions]
    found = {OURS: _kept(index, stays, stream, queries)}
    runner.detach(stream.name)
    whole, steps = follow(runner, stream, config)
    runner.detach(stream.name)
    tokens = np.array(runner.encoder.count_tokens([entry.text for entry in stream.entries]), np.float64)

    def keep(worth: Callable[[Known], Floats]) -> Kept:
        stays = choose(tokens, steps, cap, worth)
        return _kept(_without(whole, ~stays), stays, stream, queries)

    drawn = [keep(at_random(np.random.default_rng(draw).random(n))) for draw in range(draws)]
    recall, answers = (np.mean([getattr(one, field) for one in drawn], axis=0) for field in ("recall", "answers"))
    found[RANDOM] = Kept(recall, answers, drawn[0].entries)
    found |= {policy: keep(worth) for policy, worth in POLICIES.items()}
    found[ALL] = _kept(whole, np.ones(n, bool), stream, queries)
    return found


def follow(runner: Runner, stream: Stream, config: MemoryConfig) -> tuple[Index, list[Step]]:
    """Fold a stream without a cap; return its index, and what was known after each record."""
    steps: list[Step] = []
    index = Index(config.width)
    for view in followed(runner, stream, config):
        index, size = view.index, len(view.index)
        rankings = []
        for entry in stream.entries[size : size + BATCH]:
            if "?" in entry.text:
                hits = rank(index, runner.query(stream.name, entry.text), RankConfig(), size)
                rankings.append([hit.number - 1 for hit in hits])
        sums = [index.surprise_of(place + 1)[:2] for place in range(size)]
        surprise = np.array([total / stepped if stepped else np.inf for total, stepped in sums])
        steps.append(Step(size, surprise, rankings))
    return index, steps


def choose(tokens: Floats, steps: Sequence[Step], cap: int, worth: Callable[[Known], Floats]) -> Mask:
    """Return which of the entries [n] a policy keeps to the end, at most `cap` of them.

    Args:
        tokens: how many each entry has.
        steps: what was known after each record, in order.
        cap: entries that may be kept.
        worth: what each entry is worth to the policy; the least leaves.
    """
    stays, used, asked = np.zeros(len(tokens), bool), np.zeros(len(tokens)), np.zeros(len(tokens))
    before = 0
    for step in steps:
        stays[before : step.size] = True
        before = step.size
        if count := surplus(int(stays.sum()), cap):
            known = Known(tokens[: step.size], step.surprise, used[: step.size], asked[: step.size])
            here = np.flatnonzero(stays)
            stays[here[lowest(worth(known)[here], count)]] = False
        for ranking in step.rankings:
            used[[place for place in ranking if stays[place]][:K]] += 1
        asked[: step.size] += len(step.rankings)
    return stays


def at_random(drawn: Floats) -> Callable[[Known], Floats]:
    """Return a policy that values entries by numbers drawn before."""
    return lambda known: drawn[: len(known.tokens)]


def _without(index: Index, gone: Mask) -> Index:
    """Return a copy of an index in which some entries are dead."""
    copy = Index.load(index.dim, index.segments().values(), index.changing_bytes())
    copy.hide((np.flatnonzero(gone) + 1).tolist(), 0)
    return copy


def _kept(index: Index, stays: Mask, stream: Stream, queries: Sequence[Query]) -> Kept:
    """Ask the questions of an index in which only some entries live."""
    recall = []
    for question, query in zip(stream.questions, queries, strict=True):
        found = rank(index, query, RankConfig(), K)
        recall.append(recall_at([hit.number - 1 for hit in found], question.gold)[KS.index(K)])
    answers = [stays[list(question.gold)].mean() for question in stream.questions]
    return Kept(np.array(recall), np.array(answers), int(stays.sum()))
