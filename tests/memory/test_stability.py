"""Random and adversarial streams over every depth: together more than a million tokens at width 32."""

import math
from dataclasses import replace
from itertools import islice

import pytest
import torch
from memsvc_bench.streams import STREAMS, run_stability

from memsvc.memory.config import MAX_LAYERS, MIN_LAYERS, MemoryConfig

DEPTHS = range(MIN_LAYERS, MAX_LAYERS + 1)
CHUNK = 128
TOKENS = 54 * CHUNK


def memories(layers):
    """Return the defaults, and a memory whose step only the bounds hold in check."""
    gentle = MemoryConfig(layers=layers, width=32, chunk=CHUNK)
    return gentle, replace(gentle, theta=64.0, eta=0.995, clip=1e6, radius=2.0)


def test_these_are_a_million_tokens():
    assert TOKENS * len(DEPTHS) * len(STREAMS) * len(memories(2)) >= 1_000_000


@pytest.mark.parametrize("layers", DEPTHS)
def test_no_stream_breaks_a_memory_of_any_depth(layers):
    results = run_stability(memories(layers), list(STREAMS), TOKENS)
    assert len(results) == 2 * len(STREAMS)
    for result in results:
        assert result.tokens == TOKENS
        assert result.finite
        assert result.radius_share <= 1 + 1e-5
        if result.stream not in {"extreme", "switching"}:
            # What is unit in norm is always taken, and no error is ever driven far up.
            assert result.skipped == 0
            assert result.last_surprise < 3 * result.first_surprise + 1
        if result.stream in {"repeated", "opposing"}:
            assert result.last_surprise < 0.5 * result.first_surprise


@pytest.mark.parametrize("layers", [2, 8])
def test_it_is_the_curvature_bound_that_keeps_the_error_down(layers):
    _, wild = memories(layers)
    free = replace(wild, curvature=1e9)
    worst = 0.0
    for seed in range(4):
        bounded, unbounded = (
            run_stability([config], ["opposing"], 40 * CHUNK, seed=seed)[0] for config in (wild, free)
        )
        assert bounded.last_surprise < 0.5 * bounded.first_surprise
        # The radius, and the rule for chunks that are not finite, still hold the weights, but nothing is learnt.
        assert unbounded.finite
        assert unbounded.radius_share <= 1 + 1e-5
        assert unbounded.projected + unbounded.skipped > 0
        assert unbounded.last_surprise > 2 * bounded.last_surprise
        worst = max(worst, unbounded.last_surprise / unbounded.first_surprise)
    assert worst > 4


@pytest.mark.parametrize("name", STREAMS)
def test_streams_are_what_their_names_say(name):
    chunks = list(islice(STREAMS[name](16, 32, torch.Generator().manual_seed(0)), 100))
    assert all(chunk.shape == (16, 32) and chunk.dtype == torch.float32 for chunk in chunks)
    assert all(bool(chunk.isfinite().all()) for chunk in chunks)
    tokens = torch.cat(chunks)
    norms = tokens.norm(dim=1)
    if name in {"extreme", "switching"}:
        assert norms.max() > 1e20
        assert norms.min() == 0
    else:
        assert torch.allclose(norms, torch.ones(1600), atol=1e-5)
    if name == "orthogonal":
        assert torch.allclose(tokens[:32] @ tokens[:32].T, torch.eye(32), atol=1e-5)
    if name == "repeated":
        assert tokens.eq(tokens[0]).all()
    if name in {"alternating", "opposing"}:
        assert tokens[:64].sum(0).abs().max() < 1e-4
    assert math.isfinite(float(tokens.double().norm()))
