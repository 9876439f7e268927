"""Drift: how often it is seen where there is none, how soon where there is, and what a restart is worth.

Single domains are streamed whole for false alarms; switches go from English conversation to Python's manual, to source
code, and to DNA. Surprise after a switch is what the default memory says, with and without the restart.
"""

import inspect
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from memsvc.engine.runner import prepare_thread
from memsvc.memory.config import MemoryConfig
from memsvc.memory.drift import DriftState, effective, observe
from memsvc.memory.state import MemoryStack
from memsvc.memory.step import update
from memsvc.recall.encoder import Encoder, load_encoder
from memsvc_bench import documents, locomo
from memsvc_bench.report import Check, Result, describe_machine
from memsvc_bench.retrieval import Floats

THREADS = 2
SWITCHES = 100
BEFORE_TOKENS, AFTER_TOKENS = 24_000, 16_000
DETECT_TOKENS = 4_096
"""Within so many tokens a switch is to be seen."""
SIGMAS = (2.0, 3.0, 4.0, 6.0, 8.0)
SINGLE = ("conversation", "manual", "source")
SETTLED = 1.05
"""Surprise has settled once a window of 2,048 tokens is within this of where it ends up without restarts."""
WINDOW = 2_048


class Run(NamedTuple):
    """One stream through one memory."""

    alarms: list[int]
    """Tokens at which a restart began."""
    surprise: Floats
    """[n]."""


def bench(data: Path, *, switches: int = SWITCHES, encoder: str = "minilm") -> Result:
    """`memsvc bench drift`.

    Raises:
        ValueError: the file is not LoCoMo's.
    """
    prepare_thread(THREADS)
    loaded = load_encoder(encoder, threads=THREADS, dtype="auto")
    texts = _domains(data)
    states = {name: states_of(loaded, lines) for name, lines in texts.items()}
    figures: dict[str, Any] = {"corpus": locomo.digest(data)}
    config = replace(MemoryConfig(width=loaded.dim), drift=True)
    best = config.drift_sigma
    plain = {name: stream(replace(config, drift=False), states[name]).surprise for name in SINGLE}
    for sigma in SIGMAS:
        alarms = {name: len(alarms_of(replace(config, drift_sigma=sigma), plain[name])) for name in SINGLE}
        total, tokens = sum(alarms.values()), sum(map(len, plain.values()))
        figures[f"single domains, sigma {sigma:g}"] = {
            **{f"alarms, {name}": count for name, count in alarms.items()},
            "tokens": tokens,
            "alarms per million": 1e6 * total / tokens,
            # The rule of three where there is none; else Poisson's upper bound, about.
            "95 % bound per million": 1e6 * (total + 1.96 * total**0.5 + 2 if total else 3.0) / tokens,
        }
    figures |= _switches(config, states, switches)
    settled = figures[f"switches, sigma {best:g}"]
    return Result(
        machine=describe_machine(),
        command=f"memsvc bench drift --data {data.name}",
        figures=figures,
        checks=[
            Check.at_most(
                "alarms per million, default", figures[f"single domains, sigma {best:g}"]["alarms per million"], 1
            ),
            Check.at_least("seen within 4,096 tokens", settled["seen"], 0.95),
            Check.at_most("tokens to settle, share of those without", settled["settle share"], 0.5),
        ],
    )


def stream(config: MemoryConfig, states: Floats) -> Run:
    """Stream token states [n, d] through a fresh memory."""
    stack = MemoryStack(config, 1)
    drift, alarms, surprises = DriftState(), [], []
    b = config.chunk
    for at in range(0, len(states) - b + 1, b):
        if drift.clear_due:
            stack.momentum[0].zero_()
            drift = replace(drift, clear_due=False)
        result = update(stack, [0], [effective(drift, config)], [0.0], torch.from_numpy(states[None, at : at + b]))
        surprise = result.surprise[0].numpy()
        surprises.append(surprise.copy())
        drift, jump, _ = observe(drift, config, surprise)
        if jump is not None:
            alarms.append(at + b)
    return Run(alarms, np.concatenate(surprises))


def alarms_of(config: MemoryConfig, surprise: Floats) -> list[int]:
    """Return at which tokens a detector sees drift in the surprise of a memory that is not restarted."""
    state, alarms = DriftState(), []
    for at in range(0, len(surprise), config.chunk):
        state, jump, _ = observe(state, config, surprise[at : at + config.chunk])
        if jump is not None:
            alarms.append(at + config.chunk)
    return alarms


def _switches(config: MemoryConfig, states: Mapping[str, Floats], count: int) -> dict[str, dict[str, Any]]:
    """Switch from conversation to something else, from random places on; return a row for each sigma."""
    rng = random.Random(0)
    delays: dict[float, list[int]] = {sigma: [] for sigma in SIGMAS}
    early = dict.fromkeys(SIGMAS, 0)
    ratios: list[float] = []
    for i in range(count):
        before = cut(states["conversation"], BEFORE_TOKENS, rng)
        both = np.concatenate([before, cut(states[("manual", "source", "dna")[i % 3]], AFTER_TOKENS, rng)])
        plain = stream(replace(config, drift=False), both)
        for sigma in SIGMAS:
            alarms = alarms_of(replace(config, drift_sigma=sigma), plain.surprise)
            early[sigma] += sum(alarm <= len(before) for alarm in alarms)
            delays[sigma] += [alarm - len(before) for alarm in alarms if 0 < alarm - len(before) <= DETECT_TOKENS][:1]
        level = SETTLED * float(plain.surprise[-WINDOW:].mean())
        run = stream(config, both)
        ratios.append(_settles(run, len(before), level) / _settles(plain, len(before), level))
    return {
        f"switches, sigma {sigma:g}": {
            "switches": count,
            "seen": len(delays[sigma]) / count,
            "median delay, tokens": float(np.median(delays[sigma])) if delays[sigma] else None,
            "alarms before the switch": early[sigma],
            "settle share": float(np.median(ratios)) if sigma == config.drift_sigma else None,
        }
        for sigma in SIGMAS
    }


def _settles(run: Run, start: int, level: float) -> int:
    """Tokens after the switch until a window is at the level."""
    for at in range(start, len(run.surprise) - WINDOW, 128):
        if run.surprise[at : at + WINDOW].mean() <= level:
            return at - start + WINDOW
    return len(run.surprise) - start


def cut(states: Floats, tokens: int, rng: random.Random) -> Floats:
    """Return so many tokens in a row from a random place on, or all where there are fewer."""
    tokens = min(tokens, len(states))
    start = rng.randrange(len(states) - tokens + 1)
    return states[start : start + tokens]


def _domains(data: Path) -> dict[str, list[str]]:
    conversation = [entry.text for stream in locomo.load(data) for entry in stream.entries]
    manual = [entry.text for entry in documents.load().entries]
    modules = (argparse_source(), inspect.getsource(json.decoder), inspect.getsource(random))
    source = [block for text in modules for block in text.split("\n\n") if block.strip()]
    rng = random.Random(1)
    dna = ["".join(rng.choices("ACGT", k=300)) for _ in range(150)]
    return {"conversation": conversation, "manual": manual, "source": source, "dna": dna}


def argparse_source() -> str:
    """Return the source of a long module of the standard library."""
    import argparse  # noqa: PLC0415  only its text is wanted

    return inspect.getsource(argparse)


def states_of(encoder: Encoder, texts: Sequence[str]) -> Floats:
    """Return the token states [n, d] of texts, one after the other."""
    passages = [p for split in encoder.split(texts) for p in split.passages]
    return np.concatenate([encoded.states for encoded in encoder.encode(passages)])
