"""The memory's benchmarks: what they ask of whom, and what counts as seen and settled."""

import numpy as np
from memsvc_bench import drift
from memsvc_bench.corpus import Passage, Question, Stream
from memsvc_bench.memory import VARIANTS, merge

from memsvc.memory.config import MemoryConfig
from memsvc.memory.drift import HISTORY_WINDOWS, WINDOW_TOKENS
from memsvc.memory.state import MemoryStack

STREAMS = [
    Stream("a", [Passage("1", "one"), Passage("1", "two")], [Question("one?", frozenset({0}), "x")]),
    Stream("b", [Passage("1", "three")], [Question("three?", frozenset({0}), "y")]),
]


def test_merged_conversations_keep_their_answers_and_their_sessions_apart() -> None:
    merged = merge(STREAMS)
    assert [merged.entries[i].text for q in merged.questions for i in q.gold] == ["one", "three"]
    assert [entry.session for entry in merged.entries] == ["a/1", "a/1", "b/1"]


def test_every_variant_is_a_memory_and_changes_something() -> None:
    memories = {name: MemoryConfig(**changes) for name, changes in VARIANTS.items()}
    assert memories["default"] == MemoryConfig()
    assert len(set(memories.values())) == len(memories)


def test_a_switch_is_seen_where_it_is() -> None:
    calm = np.full(WINDOW_TOKENS * (HISTORY_WINDOWS + 4), 1.0) + 0.01 * np.sin(np.arange(WINDOW_TOKENS * 36))
    surprise = np.concatenate([calm, np.full(4 * WINDOW_TOKENS, 2.0)]).astype(np.float32)
    (alarm,) = drift.alarms_of(MemoryConfig(drift=True, drift_sigma=4.0), surprise)
    assert len(calm) < alarm <= len(calm) + drift.DETECT_TOKENS
    assert drift.alarms_of(MemoryConfig(drift=True, drift_sigma=4.0), calm.astype(np.float32)) == []


def test_surprise_settles_where_a_whole_window_is_low() -> None:
    surprise = np.concatenate([np.full(1000, 1.0), np.full(3000, 3.0), np.full(6000, 1.0)])
    settled = drift._settles(drift.Run([], surprise, MemoryStack(MemoryConfig(width=4), 1)), 1000, 1.05)
    assert 3000 + drift.WINDOW - 128 <= settled <= 3000 + drift.WINDOW + 128
