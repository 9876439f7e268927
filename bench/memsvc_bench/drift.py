"""Drift: how often it is seen where there is none, how soon where there is, and what a restart is worth.

Single domains are streamed whole for false alarms. Switches go from English conversation to another domain, from random
places on; surprise after one is what the default memory says, with and without the restart.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from memsvc.engine.runner import prepare_thread
from memsvc.memory.config import MemoryConfig
from memsvc.memory.drift import DriftState, effective, observe
from memsvc.memory.state import MemoryStack
from memsvc.memory.step import surprise, update
from memsvc.recall.encoder import Encoder, load_encoder
from memsvc_bench import locomo
from memsvc_bench.drift_texts import domains
from memsvc_bench.progress import told
from memsvc_bench.report import Check, Result, describe_machine
from memsvc_bench.retrieval import Floats

THREADS = 2
SWITCHES = 100
BEFORE_TOKENS, AFTER_TOKENS, HELD_TOKENS = 48_000, 12_000, 2_048
"""Before a switch, after it, and of the old domain that are read at the end. A memory takes some 37,000 tokens to
settle (NUMERICS.md); before that its surprise falls too fast for a jump to stand out."""
DETECT_TOKENS = 4_096
"""Within so many tokens a switch is to be seen."""
SIGMAS = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
WINDOWS = (3, 1)
"""Windows running that have to count: those of the design first."""
OLD = "conversation"
"""The domain before a switch, and the one on which the detector is calibrated."""
SINGLE = (OLD, "manual", "plays", "german")
"""Domains whose false alarms count; of source there is too little. DNA is one unknown token a piece to this encoder."""
NEW = ("manual", "source", "german")
SETTLED = 1.05
"""Surprise has settled once a window of 2,048 tokens is within this of where it ends up without restarts."""
WINDOW = 2_048


class Run(NamedTuple):
    """One stream through one memory."""

    alarms: list[int]
    """Tokens at which a restart began."""
    surprise: Floats
    """[n]."""
    stack: MemoryStack
    """The memory afterwards, in its slot 0."""


@dataclass(slots=True)
class _Switches:
    """What came of the switches, for one sigma."""

    delays: list[int]
    early: int = 0


def bench(data: Path, *, plays: Path | None = None, switches: int = SWITCHES, encoder: str = "minilm") -> Result:
    """`memsvc bench drift`.

    Args:
        data: a LoCoMo file.
        plays: a text of plays, one domain more.
        switches: how many.
        encoder: by name.

    Raises:
        ValueError: the file is not LoCoMo's.
    """
    prepare_thread(THREADS)
    loaded = load_encoder(encoder, threads=THREADS, dtype="auto")
    states = {name: states_of(loaded, lines) for name, lines in domains(data, plays).items()}
    figures: dict[str, Any] = {"corpus": locomo.digest(data)}
    figures |= {f"tokens, {name}": len(tokens) for name, tokens in states.items()}
    config = replace(MemoryConfig(width=loaded.dim), drift=True)
    rows, calibrated = _single(config, {name: states[name] for name in SINGLE if name in states})
    figures |= rows
    figures["calibrated on conversation, sigma of 3 windows"] = calibrated
    seen, worth = _switches(config, states, switches)
    figures |= seen | worth
    detector = _name(config.drift_windows, config.drift_sigma)
    return Result(
        machine=describe_machine(),
        command=f"memsvc bench drift --data {data.name}" + (f" --plays {plays.name}" if plays else ""),
        figures=figures,
        checks=[
            Check.at_most(
                "alarms per million tokens, default, other domains",
                rows[f"single domains, {detector}"]["others_per_million"],
                1,
            ),
            Check.at_least("seen within 4,096 tokens, default", seen[f"switches, {detector}"]["seen"], 0.95),
            Check.at_most(
                "tokens to settle, share of those without", worth["after a switch, all"]["settling, share"], 0.5
            ),
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
        said = result.surprise[0].numpy()
        surprises.append(said.copy())
        drift, jump, _ = observe(drift, config, said)
        if jump is not None:
            alarms.append(at + b)
    return Run(alarms, np.concatenate(surprises), stack)


def alarms_of(config: MemoryConfig, surprise: Floats) -> list[int]:
    """Return at which tokens a detector sees drift in the surprise of a memory that is not restarted."""
    state, alarms = DriftState(), []
    for at in range(0, len(surprise), config.chunk):
        state, jump, _ = observe(state, config, surprise[at : at + config.chunk])
        if jump is not None:
            alarms.append(at + config.chunk)
    return alarms


def _name(windows: int, sigma: float) -> str:
    return f"{windows} windows, sigma {sigma:g}" if windows > 1 else f"1 window, sigma {sigma:g}"


def _watching(config: MemoryConfig) -> dict[str, MemoryConfig]:
    """Return detectors by name."""
    return {
        _name(windows, sigma): replace(config, drift=True, drift_windows=windows, drift_sigma=sigma)
        for windows in WINDOWS
        for sigma in SIGMAS
    }


def _single(config: MemoryConfig, states: Mapping[str, Floats]) -> tuple[dict[str, dict[str, Any]], float]:
    """Return false alarms by detector, and the least sigma without one in the old domain, for the default windows."""
    plain = {name: stream(replace(config, drift=False), tokens).surprise for name, tokens in states.items()}
    others = sum(len(said) for name, said in plain.items() if name != OLD)
    rows: dict[str, dict[str, Any]] = {}
    for detector, watching in _watching(config).items():
        alarms = {name: len(alarms_of(watching, said)) for name, said in plain.items()}
        elsewhere = sum(alarms.values()) - alarms[OLD]
        rows[f"single domains, {detector}"] = {
            **{f"alarms, {name}": count for name, count in alarms.items()},
            "others_per_million": 1e6 * elsewhere / others,
            # The rule of three where there is none; else Poisson's upper bound, about.
            "95 % bound per million": 1e6 * (elsewhere + 1.96 * elsewhere**0.5 + 2 if elsewhere else 3.0) / others,
        }
    quiet = [sigma for sigma in SIGMAS if not rows[f"single domains, {_name(WINDOWS[0], sigma)}"][f"alarms, {OLD}"]]
    return rows, min(quiet, default=SIGMAS[-1])


def _switches(
    config: MemoryConfig, states: Mapping[str, Floats], count: int
) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
    """Switch to another domain; return how soon it is seen by detector, and what the restart is worth by domain."""
    rng = random.Random(0)
    detectors = _watching(config)
    found = {name: _Switches([]) for name in detectors}
    settling: dict[str, list[float]] = {}
    old: dict[str, list[float]] = {}
    new = [name for name in NEW if name in states]
    for i in told(range(count), "switches"):
        domain = new[i % len(new)]
        before = cut(states[OLD], BEFORE_TOKENS, rng)
        both = np.concatenate([before, cut(states[domain], AFTER_TOKENS, rng)])
        plain = stream(replace(config, drift=False), both)
        for name, row in found.items():
            alarms = alarms_of(detectors[name], plain.surprise)
            row.early += sum(alarm <= len(before) for alarm in alarms)
            row.delays += [alarm - len(before) for alarm in alarms if 0 < alarm - len(before) <= DETECT_TOKENS][:1]
        level = SETTLED * float(plain.surprise[-WINDOW:].mean())
        run = stream(config, both)
        settling.setdefault(domain, []).append(_settles(run, len(before), level) / _settles(plain, len(before), level))
        held = cut(states[OLD], HELD_TOKENS, rng)
        old.setdefault(domain, []).append(_reads(run.stack, config, held) / _reads(plain.stack, config, held))
    seen = {
        f"switches, {name}": {
            "switches": count,
            "seen": len(row.delays) / count,
            "median delay, tokens": float(np.median(row.delays)) if row.delays else None,
            "alarms before the switch": row.early,
        }
        for name, row in found.items()
    }
    settling["all"], old["all"] = (list(chain.from_iterable(rows.values())) for rows in (settling, old))
    worth = {
        f"after a switch, {domain}": {
            "settling, share": float(np.median(settling[domain])),
            "surprise of the old domain, share": float(np.median(old[domain])),
        }
        for domain in settling
    }
    return seen, worth


def _settles(run: Run, start: int, level: float) -> int:
    """Tokens after the switch until a window is at the level."""
    for at in range(start, len(run.surprise) - WINDOW, 128):
        if run.surprise[at : at + WINDOW].mean() <= level:
            return at - start + WINDOW
    return len(run.surprise) - start


def _reads(stack: MemoryStack, config: MemoryConfig, states: Floats) -> float:
    """Mean surprise of tokens that the memory reads and does not learn."""
    b = config.chunk
    parts = [surprise(stack, 0, config, torch.from_numpy(states[at : at + b])) for at in range(0, len(states), b)]
    return float(torch.cat(parts).mean())


def cut(states: Floats, tokens: int, rng: random.Random) -> Floats:
    """Return so many tokens in a row from a random place on, or all where there are fewer."""
    tokens = min(tokens, len(states))
    start = rng.randrange(len(states) - tokens + 1)
    return states[start : start + tokens]


def states_of(encoder: Encoder, texts: Sequence[str]) -> Floats:
    """Return the token states [n, d] of texts, one after the other."""
    passages = [p for split in encoder.split(texts) for p in split.passages]
    return np.concatenate([encoded.states for encoded in encoder.encode(passages)])
