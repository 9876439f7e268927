"""The first token of a prompt after a long history, and the device's memory, on a backbone of 7B's shape.

What is measured is what `HuggingFaceBackbone` computes of a prompt, by its own passes, prefixes and caches: it finds
the history's keys and values among what it kept of the tenant's last prompt, and goes on from a copy of the cache. Not
in it: the tokenizer, and threads. A gigabyte (GB) is 10⁹ bytes.
"""

import statistics
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from memsvc_kernels import Weights, backend
from torch import Tensor
from torch.nn.functional import normalize

from memsvc.backbone.hf_cache import Keeper, Prefixes, new_cache
from memsvc.backbone.hf_passes import BLOCK, Passes
from memsvc.backbone.sample import Sampler
from memsvc.dtypes import choose_dtype
from memsvc.memory.config import MemoryConfig
from memsvc.memory.state import initial_weights
from memsvc_bench.progress import told
from memsvc_bench.random_mistral import Shape, fill, random_mistral
from memsvc_bench.report import Check, Result, describe_machine

FIRST_TOKEN_MS = 18.0
MEMORY_GB = 29.0
FLAT = 1.2
"""Most that the first token may take after the longest history, beside the shortest."""
FIRST = "first_token_ms"

Returned = TypeVar("Returned")
Read = Callable[[], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How much is measured."""

    shape: Shape = field(default_factory=Shape)
    histories: Sequence[int] = (2048, 8192, 32_768, 131_072)
    """Tokens in the cache, each a multiple of a block of the device's."""
    recalled: Sequence[int] = (0, 256, 1024)
    """Tokens of recalled text before the prompt, in place of a history."""
    prompt: int = 64
    depths: Sequence[int] = (2, 8)
    """Of the memories that are read before the prompt."""
    width: int = 384
    warm_ups: int = 2
    rounds: int = 10


FULL = Scale()
QUICK = Scale(
    shape=Shape(width=32, layers=2, heads=4, kv_heads=2, hidden=64, vocabulary=100, window=512),
    histories=(128, 512),
    recalled=(0, 200),
    prompt=8,
    depths=(2, 3),
    width=32,
    warm_ups=1,
    rounds=2,
)


def bench(*, device: str = "auto", scale: Scale = FULL) -> Result:
    """`memsvc bench first-token`.

    Args:
        device: `cpu`, `cuda`, or `auto` for the GPU where there is one.
        scale: how much.

    Raises:
        ValueError: there is no GPU or no history, or one is longer than the window or no multiple of a block.
    """
    place = _place(device)
    backbone = Backbone(scale, place)
    memories = {depth: _reader(depth, scale.width, place) for depth in scale.depths}
    reads: dict[str, Read] = {FIRST: _nothing}
    reads |= {f"with_memory_of_{depth}_layers_ms": read for depth, read in memories.items()}
    figures: dict[str, Any] = {
        "device": torch.cuda.get_device_name(place) if place.type == "cuda" else place.type,
        "dtype": str(backbone.model.dtype).removeprefix("torch."),
        "attention": backbone.model.config._attn_implementation,
        "parameters": sum(weights.numel() for weights in backbone.model.parameters()),
        "weights_gb": sum(weights.nbytes for weights in backbone.model.parameters()) / 1e9,
    }
    figures |= {f"memory of {depth} layers": {"read_ms": _median(scale, read)} for depth, read in memories.items()}
    after = [backbone.after(tokens, reads) for tokens in told(scale.histories, "histories")]
    recalled = [backbone.recalled(tokens, reads) for tokens in told(scale.recalled, "recalled")]
    figures |= {f"history of {tokens:,}": row for tokens, row in zip(scale.histories, after, strict=True)}
    figures |= {f"recalled {tokens:,}, no history": row for tokens, row in zip(scale.recalled, recalled, strict=True)}
    histories = ",".join(map(str, scale.histories))
    command = f"memsvc bench first-token --device {place.type} --histories {histories} --layers {scale.shape.layers}"
    return Result(
        machine=describe_machine(),
        command=f"{command} --rounds {scale.rounds}",
        figures=figures,
        checks=_checks(scale, after, recalled),
    )


class Backbone:
    """The model, and what is kept of its one tenant's last prompt.

    Args:
        scale: how much is measured.
        device: where.

    Raises:
        ValueError: there is no history, or one is longer than the window or no multiple of a block.
    """

    def __init__(self, scale: Scale, device: torch.device) -> None:
        block, window = BLOCK[device.type], scale.shape.window
        if not scale.histories or any(tokens % block or not 0 < tokens <= window for tokens in scale.histories):
            raise ValueError(f"histories: must be multiples of {block}, up to {window}")
        self.model = random_mistral(scale.shape, device, choose_dtype("auto", "backbone", device))
        self._scale, self._device = scale, device
        self._passes = Passes(self.model, device)
        self._sample = Sampler(temperature=0.0, top_p=1.0, seed=0)

    def after(self, history: int, reads: Mapping[str, Read]) -> dict[str, float]:
        """Measure the prompt after a history."""
        ids = self._ids(history + self._scale.prompt)
        # The answer's own cache, with nothing kept beside it.
        cache = self._filled(history)
        self._reset()
        self._passes.next(ids[history:], cache)
        alone = self._most_gb()
        del cache
        prefixes = Prefixes(1 << 60)
        keeper = prefixes.keeper("tenant")
        keeper.keep(self._filled(history), ids[:history])
        row = self._timed(ids, keeper, reads, reused=history)
        return {**row, "kept_gb": prefixes.nbytes / 1e9, "most_gb": self._most_gb(), "most_gb_nothing_kept": alone}

    def recalled(self, tokens: int, reads: Mapping[str, Read]) -> dict[str, float]:
        """Measure the prompt after recalled text, all of it computed."""
        row = self._timed(self._ids(tokens + self._scale.prompt), Prefixes(0).keeper(""), reads, reused=0)
        return {**row, "most_gb": self._most_gb()}

    def _timed(self, ids: Tensor, keeper: Keeper, reads: Mapping[str, Read], *, reused: int) -> dict[str, float]:
        """Return the median ms of each way to the first token, by turns, and of the token after it."""
        found: dict[str, list[float]] = {name: [] for name in (*reads, "next_token_ms")}
        self._reset()
        for turn in range(self._scale.warm_ups + self._scale.rounds):
            for name, read in reads.items():
                first, following = self._answer(ids, keeper, read, reused)
                if turn >= self._scale.warm_ups:
                    found[name].append(first)
                    found["next_token_ms"].append(following)
        return {name: 1e3 * statistics.median(seconds) for name, seconds in found.items()}

    def _answer(self, ids: Tensor, keeper: Keeper, read: Read, reused: int) -> tuple[float, float]:
        """Return the seconds that the first token takes, and the second; to draw one waits for the device."""
        start = time.perf_counter()
        read()
        cache = new_cache(self.model.config, None)
        cached, logits = _end_of(self._passes.prompt(ids, cache, keeper))
        token = self._sample(logits)
        first = time.perf_counter()
        self._sample(self._passes.next(torch.tensor([token]), cache))
        second = time.perf_counter()
        if cached != reused:
            raise RuntimeError(f"{cached} tokens were reused instead of {reused}")
        return first - start, second - first

    def _filled(self, tokens: int) -> Any:
        cache = new_cache(self.model.config, None)
        fill(self.model, cache, tokens)
        return cache

    def _ids(self, tokens: int) -> Tensor:
        return torch.randint(self._scale.shape.vocabulary, (tokens,))

    def _reset(self) -> None:
        """Count the device's memory from now on, without what is free."""
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self._device)

    def _most_gb(self) -> float:
        """Return the most of the device's memory in use at once; NaN for the processor's."""
        if self._device.type != "cuda":
            return float("nan")
        return torch.cuda.max_memory_allocated(self._device) / 1e9


def _place(device: str) -> torch.device:
    there = torch.cuda.is_available()
    if device == "cuda" and not there:
        raise ValueError("device: there is no GPU that PyTorch can use here")
    return torch.device(("cuda" if there else "cpu") if device == "auto" else device)


def _reader(depth: int, width: int, device: torch.device) -> Read:
    """Return what reads a query from one memory that has learnt anything, as ranking does: to the host."""
    initial = initial_weights(MemoryConfig(layers=depth, width=width), torch.float32).to(device)
    delta = torch.randn_like(initial)[None] / width
    weights = Weights(delta, torch.zeros_like(delta), initial)
    query, kernels = normalize(torch.randn(1, 1, width), dim=-1), backend(device)
    return lambda: kernels.read(weights, [0], query).cpu()


def _nothing() -> None:
    """Read no memory."""


def _median(scale: Scale, call: Read) -> float:
    """Return the median ms of a call."""
    seconds: list[float] = []
    for _ in range(scale.warm_ups + scale.rounds):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return 1e3 * statistics.median(seconds[scale.warm_ups :])


def _end_of(steps: Generator[None, None, Returned]) -> Returned:
    """Run it to its end, and return what it returns."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            returned: Returned = end.value
            return returned


def _checks(scale: Scale, after: Sequence[Mapping[str, float]], recalled: Sequence[Mapping[str, float]]) -> list[Check]:
    longest, most = f"history of {scale.histories[-1]:,}", f"recalled {scale.recalled[-1]:,}, no history"
    last = after[-1]
    return [
        Check.at_most(f"{longest}: first token, ms", last[FIRST], FIRST_TOKEN_MS),
        Check.at_most(f"{longest}: first token, over the shortest's", last[FIRST] / after[0][FIRST], FLAT),
        Check.at_most(f"{longest}: GB", last["most_gb"], MEMORY_GB),
        Check.at_most(f"{longest}: GB, nothing kept", last["most_gb_nothing_kept"], MEMORY_GB),
        Check.at_most(f"{most}: first token, ms", recalled[-1][FIRST], FIRST_TOKEN_MS),
        Check.at_most(f"{most}: GB", recalled[-1]["most_gb"], MEMORY_GB),
    ]
