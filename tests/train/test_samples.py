"""Training sequences: what counts, and where."""

import random

import pytest

from memsvc.train.samples import batch
from memsvc.train.stages import STAGES, Stage
from tests.train.toy import DIGITS, END, IS, Toy

STAGE = Stage(steps=2, rows=3, length=128, needles=(2, 4), rate=1e-3, hard=True, penalty=0.1, prose=0.25)
CHUNK = 16


def rows(seed=0, stage=STAGE, family="training"):
    drawn = batch(Toy(), stage, random.Random(seed), chunk=CHUNK, family=family)
    return list(zip(drawn.tokens.tolist(), drawn.weight.tolist(), drawn.ordinary.tolist(), strict=True))


@pytest.mark.parametrize("seed", range(10))
def test_every_fact_is_stated_once_and_asked_once_far_enough_behind(seed):
    for tokens, weight, ordinary in rows(seed):
        assert len(tokens) == STAGE.length
        asked = [i for i, w in enumerate(weight) if w == 1]
        values = [i for i, is_ordinary in enumerate(ordinary) if not is_ordinary]
        stated = [i for i in values if i < min(asked) - 1]
        assert asked
        assert all(tokens[i] in DIGITS for i in asked)
        assert min(asked) - max(stated) > 2 * CHUNK
        # The gate is to open at the values alone, and at all of them.
        assert [tokens[i] in DIGITS for i in values] == [False, True, True] * (len(values) // 3)
        told = {tokens[i - 2]: tokens[i + 1 : i + 3] for i in stated if tokens[i] == IS}
        answers = {tokens[i - 3]: tokens[i : i + 2] for i in asked[::2]}
        assert answers == told
        # What nobody can know costs nothing.
        assert all(weight[i] == 0 for i in stated if tokens[i] in DIGITS)
        assert sum(token == END for token in tokens) == 2 * len(told)


def test_equal_seeds_draw_equal_batches():
    assert rows(3) == rows(3) != rows(4)


def test_a_sequence_without_room_for_a_fact_is_refused():
    short = Stage(steps=1, rows=1, length=32, needles=(1,), rate=1e-3, hard=True, penalty=0.0, prose=0.2)
    with pytest.raises(ValueError, match="no room"):
        rows(0, short)


@pytest.mark.parametrize("stages", STAGES.values())
def test_the_schedules_go_from_soft_to_hard_and_from_short_to_long(stages):
    assert [stage.hard for stage in stages] == sorted(stage.hard for stage in stages)
    assert [stage.length for stage in stages] == sorted(stage.length for stage in stages)
    assert stages[-1].hard
