"""Training sequences: what counts, and where."""

import random
from dataclasses import replace

import pytest

from memsvc.train.samples import EITHER, OPEN, SHUT, batch
from memsvc.train.stages import STAGES, Stage
from tests.train.toy import DIGITS, END, IS, Toy

STAGE = Stage(steps=2, rows=3, length=128, needles=(2, 4), rate=1e-3, hard=True, penalty=0.1, prose=0.25)
CHUNK = 16


def rows(seed=0, stage=STAGE, family="training"):
    drawn = batch(Toy(), stage, random.Random(seed), chunk=CHUNK, family=family)
    return list(zip(drawn.tokens.tolist(), drawn.weight.tolist(), drawn.gate.tolist(), strict=True))


@pytest.mark.parametrize("seed", range(10))
def test_every_fact_is_stated_once_and_asked_once_behind(seed):
    for tokens, weight, gate in rows(seed):
        assert len(tokens) == STAGE.length
        asked = [i for i, w in enumerate(weight) if w == 1]
        stated = [i for i, label in enumerate(gate) if label == OPEN]
        assert asked
        assert all(tokens[i] in DIGITS for i in asked)
        assert min(asked) > max(stated)
        # The gate is to open at the values alone, and may open where they are the answers.
        assert all(tokens[i] in DIGITS for i in stated)
        assert all(gate[i] == EITHER for i in asked)
        assert all(label == SHUT for token, label in zip(tokens, gate, strict=True) if token not in {*DIGITS, IS})
        told = {tokens[i - 3]: tokens[i : i + 2] for i in stated[::2]}
        answers = {tokens[i - 3]: tokens[i : i + 2] for i in asked[::2]}
        assert answers == told
        # What nobody can know costs nothing.
        assert all(weight[i] == 0 for i in stated)
        assert sum(token == END for token in tokens) == 2 * len(told)


def test_most_sequences_ask_when_no_fact_is_in_the_window_and_a_few_at_once():
    gaps = [
        weight.index(1) - max(i for i, label in enumerate(gate) if label == OPEN)
        for seed in range(40)
        for _, weight, gate in rows(seed)
    ]
    near = [gap for gap in gaps if gap <= 2 * CHUNK]
    assert 0.05 < len(near) / len(gaps) < 0.35
    assert min(near) < CHUNK


def test_equal_seeds_draw_equal_batches():
    assert rows(3) == rows(3) != rows(4)


@pytest.mark.parametrize("seed", range(20))
def test_a_fact_that_leaves_room_for_its_question_and_little_else_is_drawn(seed):
    """One fact in some hundreds is that long where sequences have four chunks: it ended a training."""
    for tokens, weight, gate in rows(seed, replace(STAGE, length=3 * CHUNK)):
        assert len(tokens) == 3 * CHUNK
        assert weight.count(1) == gate.count(OPEN) == 2


def test_a_sequence_without_room_for_a_fact_is_refused():
    short = Stage(steps=1, rows=1, length=32, needles=(1,), rate=1e-3, hard=True, penalty=0.0, prose=0.2)
    with pytest.raises(ValueError, match="no room"):
        rows(0, short)


@pytest.mark.parametrize("stages", STAGES.values())
def test_the_schedules_go_from_soft_to_hard_and_end_with_the_longest_and_most(stages):
    assert [stage.hard for stage in stages] == sorted(stage.hard for stage in stages)
    assert max(stages, key=lambda stage: (stage.length, max(stage.needles))) is stages[-1]
    assert stages[-1].hard
