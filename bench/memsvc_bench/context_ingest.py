"""What a context memory costs ingest: tenants with one and without, written by turns.

Ordinary text writes next to nothing into it, a text of nothing but facts as much as there can be. Both are measured.
"""

import random
import re
import statistics
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, takewhile
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any, NamedTuple

from memsvc_client import MemoryClient

from memsvc.backbone.titans_mac.context_model import ContextModel
from memsvc.backbone.titans_mac.shelf import Shelf
from memsvc_bench import service_load as load
from memsvc_bench.needle_facts import facts
from memsvc_bench.redis_process import free_port
from memsvc_bench.report import Result, describe_machine
from memsvc_bench.server_process import ServerProcess
from memsvc_bench.service_texts import passages

THREADS = 2
MODEL = "text"
FACTS_IN_ENTRY = 16
"""About as many as make an entry as long as a passage."""
CONTEXTS: Mapping[str, str | None] = MappingProxyType({"without": None, "with": MODEL})
_COUNTER = re.compile(r"^memsvc_context_(tokens|written_tokens)_total (\S+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How much is measured."""

    encoder: str = "minilm"
    repeats: int = 7
    """Pairs of tenants, after one that warms up."""
    characters: int = 48_000
    """Of each kind of text."""


FULL = Scale()
QUICK = Scale(encoder="kmer", repeats=2, characters=3_000)


class _Streamed(NamedTuple):
    """What a server's context memories took in since its start."""

    tokens: int
    written: int


def bench(*, scale: Scale = FULL) -> Result:
    """`memsvc bench context`.

    Raises:
        RuntimeError: the server did not start, or a context memory has not taken in all that was written.
    """
    model, port = Shelf().find(MODEL), free_port()
    options = ["--encoder", scale.encoder, "--threads", str(THREADS), "--metrics-port", str(port)]
    kinds = {"passages": passages(), "facts": _facts(model, scale.characters)}
    figures: dict[str, Any] = {"model": model.identity, "encoder": scale.encoder, "pairs": scale.repeats}
    with (
        TemporaryDirectory() as scratch,
        ServerProcess(Path(scratch) / "data", options) as server,
        MemoryClient(server.target) as client,
    ):
        for kind, texts in kinds.items():
            figures[kind] = _paired(client, port, model, _some(texts, scale.characters), scale.repeats)
        server.stop()
    return Result(machine=describe_machine(), command="memsvc bench context", figures=figures)


def _paired(client: MemoryClient, port: int, model: ContextModel, texts: Sequence[str], repeats: int) -> dict[str, Any]:
    """Return what texts of one kind take, with the memory and without."""
    seconds: dict[str, list[float]] = {name: [] for name in CONTEXTS}
    for i in range(repeats + 1):
        # Whoever comes second has no advantage over all pairs.
        for name in sorted(CONTEXTS, reverse=i % 2 == 0):
            before = _streamed(port)
            seconds[name].append(_ingest(client, texts, CONTEXTS[name]))
            after = _streamed(port)
            took = _Streamed(*(now - then for now, then in zip(after, before, strict=True)))
            if took.tokens != (expected := _whole_chunks(model, texts) if CONTEXTS[name] else 0):
                raise RuntimeError(f"the context memory took in {took.tokens} tokens of {expected}")
            if CONTEXTS[name]:
                streamed = took
    pairs = list(zip(seconds["without"], seconds["with"], strict=True))[1:]
    characters, ratios = sum(map(len, texts)), [b / a for a, b in pairs]
    return {
        "texts": len(texts),
        "characters": characters,
        "characters_per_s_without": characters / statistics.median(without for without, _ in pairs),
        "characters_per_s_with": characters / statistics.median(with_one for _, with_one in pairs),
        "time_ratio": statistics.median(ratios),
        "lowest_ratio": min(ratios),
        "highest_ratio": max(ratios),
        "context_tokens": streamed.tokens,
        "gate_share": streamed.written / streamed.tokens,
        "us_per_token_more": statistics.median(b - a for a, b in pairs) / streamed.tokens * 1e6,
    }


def _ingest(client: MemoryClient, texts: Sequence[str], context_memory: str | None) -> float:
    """Return the seconds until texts are recallable from a tenant of their own."""
    client.create_tenant("t", context_memory=context_memory)
    seconds = load.ingest(client, "t", texts)
    # What is gone does not snapshot itself while the next is measured.
    client.delete_tenant("t")
    return seconds


def _whole_chunks(model: ContextModel, texts: Sequence[str]) -> int:
    """Return the tokens of a stream that are in its memory; a full chunk waits for the token after it."""
    tokens = sum(len(model.entry(text)) for text in texts)
    return (tokens - 1) // model.chunk * model.chunk


def _streamed(port: int) -> _Streamed:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as page:
        found = dict(_COUNTER.findall(page.read().decode()))
    return _Streamed(*(int(float(found[name])) for name in ("tokens", "written_tokens")))


def _facts(model: ContextModel, characters: int) -> list[str]:
    """Return entries of nothing but facts, in training's forms with names that training never saw."""
    draw, rng, texts = facts(MODEL, "similar", model.tokenizer), random.Random(0), list[str]()
    while sum(map(len, texts)) < characters:
        drawn = draw(rng, FACTS_IN_ENTRY)
        texts.append("".join(model.text([*fact.before, *fact.value, *fact.after]) for fact in drawn).strip())
    return texts


def _some(texts: Sequence[str], characters: int) -> list[str]:
    """Return the first texts of so many characters, and at least one."""
    ends = accumulate(map(len, texts))
    return list(texts[: 1 + sum(1 for _ in takewhile(lambda end: end < characters, ends))])
