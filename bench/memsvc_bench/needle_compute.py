"""What the memory costs: time and operations per token, the first token after any history, and bytes of the state.

And the same for memories of other depths and chunks: what they cost needs no training.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from memsvc.backbone.titans_mac.model import TitansMac
from memsvc.backbone.titans_mac.stream import Stream, following, pack
from memsvc.train.source import Fact
from memsvc_bench.needle_switches import CHUNKS, switched, switches
from memsvc_bench.progress import told

FACT_CHUNKS = 16
"""Of each stream in one timed call on facts."""
STREAMS = (1, 8)
DEPTHS = (2, 6, 8, 12)
SHAPED_ROUNDS = 3
"""Pairs of timed calls for each other shape."""


@torch.no_grad()
def per_token(
    model: TitansMac,
    hay: Tensor,
    dense: Sequence[int],
    *,
    chunks: int,
    rounds: int,
    streams: Sequence[int] = STREAMS,
) -> dict[str, dict[str, Any]]:
    """Return time and operations per token, with the memory and without, turn and turn about.

    Args:
        model: with the gate hard.
        hay: tokens of ordinary text, [n].
        dense: tokens of facts, one after the other.
        chunks: of ordinary text in one timed call, of all its streams.
        rounds: pairs.
        streams: batched together.
    """
    rows = {}
    for count in streams:
        for name, text, each in (("haystack", hay, chunks // count), ("facts", torch.tensor(dense), FACT_CHUNKS)):
            length = each * model.config.chunk
            tokens = text[torch.arange(count * length) % len(text)].long().view(count, length)
            rows[f"{name}, {count} streams"] = _paired(model, tokens, rounds)
    return rows


def _paired(model: TitansMac, tokens: Tensor, rounds: int) -> dict[str, Any]:
    state = model.initial(len(tokens))

    def call(memory: bool) -> Tensor:
        return model.logits(model.stream(tokens, state, memory=memory).hidden)

    opened = float(model.stream(tokens, state).write.mean())
    pairs = [(_seconds(lambda: call(True)), _seconds(lambda: call(False))) for _ in range(rounds + 1)][1:]
    us, plain = (statistics.median(times) / tokens.numel() * 1e6 for times in zip(*pairs, strict=True))
    return {
        "gate_share": opened,
        "us_per_token": us,
        "us_without_memory": plain,
        "time_ratio": statistics.median(a / b for a, b in pairs),
        "flops_per_token": _operations(lambda: call(True)) / tokens.numel(),
        "flops_without_memory": _operations(lambda: call(False)) / tokens.numel(),
    }


@torch.no_grad()
def by_shape(model: TitansMac, hay: Tensor, *, chunks: int, rounds: int = SHAPED_ROUNDS) -> dict[str, dict[str, Any]]:
    """Return time and operations per token of ordinary text, and bytes of the state, for other depths and chunks.

    Args:
        model: with the gate hard; what a depth adds to it is as it is before training.
        hay: tokens of ordinary text, [n].
        chunks: the model's own, in one timed call.
        rounds: pairs.
    """
    shaped = {f"memory of depth {depth}": partial(_of_depth, model, depth) for depth in DEPTHS}
    shaped |= {
        f"memory in {name}": partial(switched, model, name, hay) for name in CHUNKS if name in switches(model.config)
    }
    tokens = hay[torch.arange(chunks * model.config.chunk) % len(hay)].long()[None]
    rows = {}
    for name, make in shaped.items():
        other = make()
        size = len(pack(Stream(other.initial(1)), other.config))
        rows[name] = _paired(other, tokens, rounds) | {"state_bytes": size}
    return rows


def _of_depth(model: TitansMac, depth: int) -> TitansMac:
    other = TitansMac(replace(model.config, memory=replace(model.config.memory, depth=depth)))
    other.load_state_dict(model.state_dict(), strict=False)
    return other.eval().requires_grad_(requires_grad=False)


@torch.no_grad()
def by_history(
    model: TitansMac, hay: Tensor, fact: Fact, lengths: Sequence[int], rounds: int
) -> dict[str, dict[str, Any]]:
    """Return, for each length of history, how long the first token takes and the bytes of the state.

    Args:
        model: with the gate hard.
        hay: what is streamed, [n], over and over.
        fact: at its head; its question is the prompt.
        lengths: of the history in whole chunks, ascending.
        rounds: each asks after all histories, so that drift meets them alike.
    """
    prompt = fact.question[-model.config.chunk :]
    streams: dict[int, Stream] = {}
    head = torch.tensor([*fact.before, *fact.value, *fact.after])
    text, state, done = torch.cat([head, hay.long()]), model.initial(1), 0
    for length in told(lengths, "history"):
        while done < length:
            stop = min(length, done + FACT_CHUNKS * model.config.chunk)
            state = model.stream(text[torch.arange(done, stop) % len(text)][None], state, hidden=False).state
            done = stop
        streams[length] = Stream(state, prompt)
    waits: dict[int, list[float]] = {length: [] for length in lengths}
    for _ in range(rounds + 1):
        for length, stream in streams.items():
            waits[length].append(_seconds(partial(following, model, [stream])))
    return {
        f"history of {length:,}": {
            "first_token_ms": statistics.median(waits[length][1:]) * 1000,
            "state_bytes": len(pack(streams[length], model.config)),
        }
        for length in lengths
    }


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _operations(call: Callable[[], object]) -> int:
    """Return the floating-point operations of a call's products of matrices; those of attention are counted as such."""
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        call()
    return int(counter.get_total_flops())
