"""The service under load, beside what it is built on: the encoder alone, and FAISS.

One run measures both sides, turn and turn about, because a machine's speed drifts by more than what is looked for.
"""

import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from memsvc_client import MemoryClient

from memsvc.engine.config import EngineConfig
from memsvc_bench import service_load as load
from memsvc_bench.report import Check, Result, describe_machine
from memsvc_bench.server_process import ServerProcess
from memsvc_bench.service_encoder import EncoderProcess
from memsvc_bench.service_texts import Synthetic, dialogue, passages, percentiles

THREADS = 2
DIM = 384
SHARE_OF_FP32, SHARE_OF_BF16 = 0.75, 0.65
PACE, EASY = 0.7, 0.5
"""Shares of the measured ceiling at which latencies are measured; the checks are on the first."""
RECALL_EVERY_S = 0.1
SETTLE_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How much is measured."""

    encoder: str = "minilm"
    repeats: int = 5
    """Rounds of encoder and service, each over the same texts."""
    tokens: int = 16_000
    """Tokens of each kind of text."""
    bf16_tokens: int = 4_000
    """Tokens for the bf16 encoder where the processor has no such instructions."""
    paced_s: float = 30.0
    entries: int = 100_000
    """Entries of the tenant that is asked."""
    queries: int = 200
    fill_s: float = 120.0
    """How long the stream that never lets up may take to fill its window."""


FULL = Scale()
QUICK = Scale(encoder="kmer", repeats=1, tokens=1_000, bf16_tokens=100, paced_s=1.0, entries=600, queries=5, fill_s=2.0)


def bench(data: Path | None = None, *, scale: Scale = FULL) -> Result:
    """`memsvc bench service`.

    Args:
        data: a LoCoMo file whose turns are the dialogue; without it the sentences of Python's own manual are.
        scale: how much to measure.

    Raises:
        ValueError: the file is not LoCoMo's.
        RuntimeError: the server did not start, or lost something.
    """
    load_before = os.getloadavg()[0]
    options = ["--encoder", scale.encoder, "--threads", str(THREADS)]
    with TemporaryDirectory() as scratch, EncoderProcess(scale.encoder, THREADS) as encoder:
        turns = _some(encoder, dialogue(data), scale.tokens)
        documents = _some(encoder, passages(), scale.tokens)
        with ServerProcess(Path(scratch) / "data", options) as server:
            run = _Run(scale, encoder, server.target)
            ceiling = run.throughput("dialogue", turns)
            run.throughput("documents", documents)
            acknowledged, recallable = run.paced(turns, ceiling, PACE)
            run.checks += [
                Check.at_most("at 70 %: acknowledged p50, ms", acknowledged["p50_ms"], 10),
                Check.at_most("at 70 %: acknowledged p99, ms", acknowledged["p99_ms"], 50),
                Check.at_most("at 70 %: recallable p99, ms", recallable["p99_ms"], 1000),
            ]
            run.paced(turns, ceiling, EASY)
            run.recall(turns, ceiling)
            server.stop()
    averages = {"load_average_before": load_before, "load_average_after": os.getloadavg()[0]}
    command = "memsvc bench service" + (f" --data {data.name}" if data else "")
    return Result(machine=describe_machine(), command=command, figures=averages | run.figures, checks=run.checks)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Texts:
    """Texts that the encoder reads whole."""

    texts: Sequence[str]
    tokens: Sequence[int]

    @property
    def total(self) -> int:
        return sum(self.tokens)

    @property
    def bytes_per_token(self) -> float:
        return sum(len(text.encode()) for text in self.texts) / self.total

    def first(self, tokens: int) -> "_Texts":
        """The first of them, of so many tokens."""
        n = 1
        while n < len(self.texts) and sum(self.tokens[:n]) < tokens:
            n += 1
        return _Texts(texts=self.texts[:n], tokens=self.tokens[:n])


def _some(encoder: EncoderProcess, texts: Sequence[str], tokens: int) -> _Texts:
    """The first texts of so many tokens, those beyond the window apart: the encoder alone would drop a part of them."""
    fitting = [(t, n) for t, n in zip(texts, encoder.count(texts), strict=True) if 0 < n <= encoder.room]
    return _Texts(texts=[t for t, _ in fitting], tokens=[n for _, n in fitting]).first(tokens)


class _Run:
    """One run: every part adds its figures and checks."""

    def __init__(self, scale: Scale, encoder: EncoderProcess, target: str) -> None:
        self._scale, self._encoder, self._target = scale, encoder, target
        self.figures: dict[str, Any] = {"bf16_in_processor": encoder.bf16_supported}
        self.checks: list[Check] = []

    def throughput(self, name: str, kind: _Texts) -> float:
        """Measure encoder and service by turns; return the service's tokens/s."""
        alone, through, bf16 = [], [], []
        # Without the instructions bf16 takes many times as long and says little.
        fewer = kind if self._encoder.bf16_supported else kind.first(self._scale.bf16_tokens)
        with MemoryClient(self._target) as client:
            load.ingest(client, f"{name}-warm", kind.first(self._scale.tokens // 8).texts)
            client.delete_tenant(f"{name}-warm")
            for i in range(self._scale.repeats):
                alone.append(kind.total / self._encoder.encode(kind.texts))
                if self._encoder.bf16_supported or i == 0:
                    bf16.append(fewer.total / self._encoder.encode(fewer.texts, "bfloat16"))
                through.append(kind.total / load.ingest(client, f"{name}-{i}", kind.texts))
                counted = client.stats(f"{name}-{i}").tokens
                if counted != kind.total:
                    raise RuntimeError(f"the service counted {counted} tokens of {kind.total}")
                # What is gone does not snapshot itself while the encoder is measured.
                client.delete_tenant(f"{name}-{i}")
        fp32_rate, bf16_rate, rate = map(statistics.median, (alone, bf16, through))
        shares = [service / encoder for service, encoder in zip(through, alone, strict=True)]
        self.figures[name] = {
            "texts": len(kind.texts),
            "tokens": kind.total,
            "encoder_fp32_tokens_per_s": fp32_rate,
            "encoder_bf16_tokens_per_s": bf16_rate,
            "service_tokens_per_s": rate,
            "share_of_fp32": rate / fp32_rate,
            "lowest_share": min(shares),
            "highest_share": max(shares),
            "us_per_token_outside_encoder": 1e6 / rate - 1e6 / fp32_rate,
        }
        self.checks.append(Check.at_least(f"{name}: share of the fp32 encoder", rate / fp32_rate, SHARE_OF_FP32))
        self.checks.append(Check.at_least(f"{name}: share of the bf16 encoder", rate / bf16_rate, SHARE_OF_BF16))
        return rate

    def paced(self, kind: _Texts, ceiling: float, share: float) -> tuple[dict[str, float], dict[str, float]]:
        """Measure batches of one text each, due at a share of the ceiling; return acknowledged and recallable."""
        rate = share * ceiling
        texts: list[str] = []
        due: list[float] = []
        moment = 0.0
        while moment < self._scale.paced_s or len(texts) < 2 * load.APPLIED_EVERY:
            i = len(texts) % len(kind.texts)
            texts.append(kind.texts[i])
            due.append(moment)
            moment += kind.tokens[i] / rate
        paced = load.write_paced(self._target, f"paced-{share}", texts, due)
        acknowledged, recallable = percentiles(paced.acknowledged), percentiles(paced.recallable)
        at = f"at {100 * share:.0f} %"
        self.figures[f"{at}, tokens per s"] = rate
        self.figures[f"{at}, batches per s"] = len(texts) / moment
        self.figures[f"written to acknowledged, {at}"] = acknowledged
        self.figures[f"written to recallable, {at}"] = recallable
        return acknowledged, recallable

    def recall(self, kind: _Texts, ceiling: float) -> None:
        """Measure recall from a large tenant, idle and beside a stream that never lets up; and what of that waits."""
        synthetic = Synthetic(self._scale.entries, DIM)
        queries = synthetic.queries(self._scale.queries)
        window = EngineConfig().tenant_queue_bytes
        loaded_s = load.load(self._target, "large", synthetic)
        with MemoryClient(self._target) as client:
            load.wait_for_snapshot(client, "large", SETTLE_S)
            load.recall(client, "large", queries[:5])
            faiss = percentiles(self._encoder.search(self._scale.entries, DIM, queries, load.K))
            idle = percentiles(load.recall(client, "large", queries))
            with load.Saturation(self._target, "saturating", kind.texts) as saturation:
                filled = saturation.wait_until_full(window, self._scale.fill_s)
                busy = percentiles(load.recall(client, "large", queries, every=RECALL_EVERY_S))
        waiting = max(saturation.pending_bytes)
        self.figures |= {
            "recall_entries": self._scale.entries,
            "load_entries_per_s": self._scale.entries / loaded_s,
            "FAISS flat, idle": faiss,
            "recall, idle": idle,
            "recall, saturated": busy,
            "window_bytes": window,
            "window_filled": filled,
            "most_pending_bytes": waiting,
            "most_lag_s": waiting / (ceiling * kind.bytes_per_token),
        }
        self.checks += [
            Check.at_most("saturated: pending bytes", waiting, window + saturation.largest_batch),
            Check.at_most("recall idle p50, ms", idle["p50_ms"], 30),
            Check.at_most("recall saturated p50, ms", busy["p50_ms"], 60),
            Check.at_most("recall saturated p99, ms", busy["p99_ms"], 150),
        ]
