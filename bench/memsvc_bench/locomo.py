"""LoCoMo (Maharana et al., arXiv:2402.17753): long conversations, questions, and the turns that answer them."""

import hashlib
import json
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from memsvc_bench.corpus import Passage, Question, Stream
from memsvc_bench.report import Check, Result
from memsvc_bench.retrieval import Recall, at, costs, measure

CATEGORIES = {1: "multi-hop", 2: "temporal", 3: "open-domain", 4: "single-hop", 5: "adversarial"}


def load(path: Path, conversations: Collection[str] = ()) -> list[Stream]:
    """Return one stream per conversation, all of them or those named; questions that name no turn are left out.

    Raises:
        ValueError: the file is not LoCoMo's, or lacks a conversation that is named.
    """
    try:
        samples = json.loads(path.read_text())
        streams = [_stream(sample) for sample in samples if not conversations or sample["sample_id"] in conversations]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path.name} is not a LoCoMo file") from error
    missing = set(conversations) - {stream.name for stream in streams}
    if missing:
        raise ValueError(f"{path.name} has no conversation {', '.join(sorted(missing))}")
    return streams


def bench(path: Path, conversations: Collection[str] = ()) -> Result:
    """`memsvc bench locomo`: the targets hold for the whole development file.

    Raises:
        ValueError: as `load`.
    """
    streams = load(path, conversations)

    def checks(recalls: Sequence[Recall]) -> list[Check]:
        return [
            Check.at_least("service @10", at(recalls, "service", 10), 0.79),
            Check.at_least("service @5", at(recalls, "service", 5), 0.68),
            Check.at_least("dense memory @10", at(recalls, "dense: memory", 10), 0.57),
            *costs(recalls),
        ]

    chosen = f" --conversations {','.join(conversations)}" if conversations else ""
    return measure(f"memsvc bench locomo --data {path.name}{chosen}", streams, digest(path), checks)


def digest(path: Path) -> str:
    """Return a short name for the file's bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def _stream(sample: dict[str, Any]) -> Stream:
    conversation = sample["conversation"]
    sessions = sorted((key for key in conversation if re.fullmatch(r"session_\d+", key)), key=lambda key: int(key[8:]))
    entries: list[Passage] = []
    at: dict[str, int] = {}
    for session in sessions:
        for turn in conversation[session]:
            caption = f" [{turn['blip_caption']}]" if turn.get("blip_caption") else ""
            at[turn["dia_id"]] = len(entries)
            entries.append(Passage(session, f"{turn['speaker']}: {turn['text']}{caption}"))
    questions = []
    for item in sample["qa"]:
        gold = frozenset(at[turn] for turn in item.get("evidence", []) if turn in at)
        if gold:
            questions.append(Question(item["question"], gold, CATEGORIES[item["category"]]))
    return Stream(sample["sample_id"], entries, questions)
