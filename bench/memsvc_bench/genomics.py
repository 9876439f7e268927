"""DNA in a memory, by hashed 6-grams: recall of fragments with errors, and drift from English to DNA and back.

A made-up genome is one tenant's stream: entries of 400 bases in order, a session per contig. Questions are fragments
of 150 bases from random places, with one base in twenty another, and with one in four; the gold answer is the entry, or
the two, that hold it. The genome cannot tell what real DNA would: repeats there are older, longer and more.

    BM25              of the service's words, of which an entry of DNA is one: nothing is found
    shared 11-mers    by how many different ones an entry has in common with the fragment: what aligners start from

Drift is looked for as in `memsvc bench drift`, with the default settings: with the preset's twelve layers the memory
takes six times as long. English is Python's manual, as 6-grams too.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from memsvc.engine.runner import prepare_thread
from memsvc.memory.config import MemoryConfig
from memsvc.memory.presets import preset
from memsvc.recall.encoder import load_encoder
from memsvc.recall.rank import RankConfig
from memsvc_bench import documents
from memsvc_bench.corpus import Passage, Question, Stream
from memsvc_bench.drift import DETECT_TOKENS, alarms_of, cut, states_of, stream
from memsvc_bench.genome import fragments, genome
from memsvc_bench.report import Check, Result, describe_machine
from memsvc_bench.retrieval import KS, THREADS, Recall, at, in_process, recall_at, table

ENTRY_BASES = 400
ERRORS = {"5 %": 0.05, "25 %": 0.25}
"""Bases of a fragment that are others. With few of them nearly all is found, whatever the memory does."""
SEED_BASES = 11
"""Bases of what aligners look up."""
SETTINGS = ("default", "genomics")
"""Presets, side by side."""
SHARED: Mapping[str, str] = MappingProxyType(
    {
        "dense: cosine": "cosine",
        "dense: centred": "centred",
        "dense: ridge residual": "ridge residual",
        "BM25": "BM25",
        "full: cosine": "full: cosine",
    }
)
"""What does not depend on the settings."""
SEEN = 0.95
"""The wish: the share of switches seen in time."""
SIGMAS = (2.0, 3.0, 4.0, 6.0, 8.0)
"""How far surprise has to jump, the default among them; for as many windows running as by default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How much is written, asked and streamed."""

    contigs: int = 10
    entries: int = 50
    """Of a contig."""
    questions: int = 300
    """With each share of errors."""
    single: int = 1_000_000
    """Tokens of English and of DNA, at most."""
    switches: int = 20
    """To DNA, and as many back."""
    before: int = 24_000
    """Tokens of English before a switch: the detector's history, and half as much again."""
    between: int = 32_000
    """Tokens of DNA: a restart, and the history anew, and somewhat more."""
    after: int = 8_000
    """Tokens of English after the switch back."""


FULL = Scale()
QUICK = Scale(contigs=2, entries=10, questions=20, single=18_000, switches=1, before=18_000, between=2_000, after=2_000)


class Seen(NamedTuple):
    """What the detector made of a switch there and one back: tokens after it at the first alarm, None for none."""

    there: int | None
    back: int | None


def bench(*, scale: Scale = FULL) -> Result:
    """`memsvc bench genomics`."""
    prepare_thread(THREADS)
    contigs = genome(scale.contigs, scale.entries * ENTRY_BASES, np.random.default_rng(0))
    dna = dna_stream(contigs, scale.questions)
    recalls = _recalls(dna)
    by_errors = {errors: _of(dna, recalls, errors) for errors in ERRORS}
    figures: dict[str, Any] = {
        "questions": len(dna.questions),
        "entries": len(dna.entries),
        "bases": sum(map(len, contigs)),
        "corpus_of_english": documents.digest(),
    }
    for errors, found in by_errors.items():
        figures |= {f"{errors}: {name}": row for name, row in table(found, "cosine").items()}
    drifts = _drift(contigs, scale)
    figures |= drifts
    sigma = f"sigma {MemoryConfig().drift_sigma:g}"
    single, switches = drifts[f"single domains, {sigma}"], drifts[f"switches, {sigma}"]
    return Result(
        machine=describe_machine(),
        command="memsvc bench genomics",
        figures=figures,
        checks=[
            *(
                Check.at_least(
                    f"{errors}: memory, {name}, less cosine @10",
                    at(found, f"memory, {name}", 10) - at(found, "cosine", 10),
                    0.0,
                )
                for errors, found in by_errors.items()
                for name in SETTINGS
            ),
            Check.at_least("to DNA, seen within 4,096 tokens", switches["to DNA, seen"], SEEN),
            Check.at_least("back, seen within 4,096 tokens", switches["back, seen"], SEEN),
            Check.at_most("alarms per million, default", single["alarms per million"], 1),
        ],
    )


def dna_stream(contigs: Sequence[str], questions: int) -> Stream:
    """Return contigs as a stream of entries, and fragments of them as questions."""
    entries = [
        Passage(f"contig-{i}", contig[start : start + ENTRY_BASES])
        for i, contig in enumerate(contigs)
        for start in range(0, len(contig), ENTRY_BASES)
    ]
    rng = np.random.default_rng(1)
    asked = [
        Question(fragment.text, fragment.gold, name)
        for name, errors in ERRORS.items()
        for fragment in fragments(contigs, ENTRY_BASES, questions, errors=errors, rng=rng)
    ]
    return Stream("dna", entries, asked)


def shared_mers(dna: Stream) -> Recall:
    """Rank entries by how many different 11-mers they share with the question; of equals the earlier first."""
    held = [_mers(entry.text) for entry in dna.entries]
    rows = []
    for question in dna.questions:
        asked = _mers(question.text)
        counts = np.array([len(asked & mers) for mers in held])
        rows.append(recall_at(np.argsort(-counts, kind="stable")[: max(KS)].tolist(), question.gold))
    return Recall(f"shared {SEED_BASES}-mers", np.array(rows))


def _recalls(dna: Stream) -> list[Recall]:
    encoder = load_encoder("kmer", threads=THREADS)
    found: list[Recall] = []
    for name in SETTINGS:
        recalls = {r.name: r.at for r in in_process([dna], encoder, preset(name, MemoryConfig()), RankConfig())}
        if not found:
            found += [Recall(label, recalls[way]) for way, label in SHARED.items()]
        found += [
            Recall(f"memory, {name}", recalls["dense: memory"]),
            Recall(f"full: memory, {name}", recalls["full: memory"]),
        ]
    return [*found, shared_mers(dna)]


def _of(dna: Stream, recalls: Sequence[Recall], errors: str) -> list[Recall]:
    """Return the part of the recalls that is of the fragments with such errors."""
    mask = np.array([question.category == errors for question in dna.questions])
    return [Recall(recall.name, recall.at[mask]) for recall in recalls]


def _drift(contigs: Sequence[str], scale: Scale) -> dict[str, dict[str, Any]]:
    """Return a row for each sigma: alarms in single domains, and switches."""
    encoder = load_encoder("kmer", threads=THREADS)
    config = MemoryConfig(width=encoder.dim)
    english = states_of(encoder, [entry.text for entry in documents.load().entries])[: scale.single]
    dna = states_of(encoder, contigs)[: scale.single]
    plain = {"English": stream(config, english).surprise, "DNA": stream(config, dna).surprise}
    rng = random.Random(0)
    switched = []
    for _ in range(scale.switches):
        parts = [cut(english, scale.before, rng), cut(dna, scale.between, rng), cut(english, scale.after, rng)]
        switched.append((len(parts[0]), len(parts[1]), stream(config, np.concatenate(parts)).surprise))
    rows: dict[str, dict[str, Any]] = {}
    for sigma in SIGMAS:
        watching = replace(config, drift=True, drift_sigma=sigma)
        alarms = {name: len(alarms_of(watching, surprise)) for name, surprise in plain.items()}
        tokens = sum(map(len, plain.values()))
        rows[f"single domains, sigma {sigma:g}"] = {
            **{f"alarms, {name}": count for name, count in alarms.items()},
            **{f"{name}, tokens": len(surprise) for name, surprise in plain.items()},
            "alarms per million": 1e6 * sum(alarms.values()) / tokens,
        }
    for sigma in SIGMAS:
        watching = replace(config, drift=True, drift_sigma=sigma)
        seen = [_seen(alarms_of(watching, surprise), there, there + back) for there, back, surprise in switched]
        rows[f"switches, sigma {sigma:g}"] = {
            "switches each way": len(seen),
            **_delays("to DNA", [s.there for s in seen]),
            **_delays("back", [s.back for s in seen]),
        }
    means = [
        (
            surprise[there - DETECT_TOKENS : there].mean(),
            surprise[there : there + DETECT_TOKENS].mean(),
            surprise[there + back - DETECT_TOKENS : there + back].mean(),
            surprise[there + back :][:DETECT_TOKENS].mean(),
        )
        for there, back, surprise in switched
    ]
    labels = ("English before", "DNA after", "DNA before", "English after")
    rows["mean surprise within 4,096 tokens of a switch"] = dict(
        zip(labels, map(float, np.mean(means, axis=0)), strict=True)
    )
    return rows


def _seen(alarms: Sequence[int], there: int, back: int) -> Seen:
    def first(start: int) -> int | None:
        return next((alarm - start for alarm in alarms if 0 < alarm - start <= DETECT_TOKENS), None)

    return Seen(first(there), first(back))


def _delays(way: str, delays: Sequence[int | None]) -> dict[str, Any]:
    seen = [delay for delay in delays if delay is not None]
    return {
        f"{way}, seen": len(seen) / len(delays),
        f"{way}, median delay, tokens": float(np.median(seen)) if seen else None,
    }


def _mers(text: str) -> set[str]:
    return {text[i : i + SEED_BASES] for i in range(len(text) - SEED_BASES + 1)}
