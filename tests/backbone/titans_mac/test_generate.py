"""Tokens that follow a stream."""

from itertools import islice

import pytest
import torch

from memsvc.backbone.titans_mac.generate import generate
from memsvc.backbone.titans_mac.stream import following, pack
from tests.backbone.titans_mac.test_stream import through, words


def tokens(model, count=40, **settings):
    return list(islice(generate(model, through(model, [words(50)]), **settings), count))


def test_at_temperature_0_the_likeliest_token_follows(model):
    found = tokens(model)
    for i in (0, 20, 39):
        stream = through(model, [words(50), found[:i]])
        assert found[i] == int(following(model, [stream])[0].argmax())
    assert tokens(model, temperature=1.0, top_p=1e-9, seed=1) == found


def test_equal_seeds_give_equal_tokens(model):
    assert tokens(model, temperature=2.0, seed=1) == tokens(model, temperature=2.0, seed=1)
    assert tokens(model, temperature=2.0, seed=1) != tokens(model, temperature=2.0, seed=2)
    assert tokens(model, temperature=2.0) != tokens(model, temperature=2.0)


@pytest.mark.parametrize("top_p", [0.3, 0.7])
def test_only_the_likeliest_that_make_up_top_p_are_drawn(model, top_p):
    stream = through(model, [words(50)])
    odds, order = following(model, [stream])[0].double().softmax(0).sort(descending=True)
    count = int((odds.cumsum(0) < top_p).sum()) + 1
    drawn = {next(generate(model, stream, temperature=1.0, top_p=top_p, seed=seed)) for seed in range(200)}
    assert drawn <= set(order[:count].tolist())
    assert len(drawn) > min(count, 5) // 2


def test_generating_leaves_the_stream_as_it_was(model):
    stream = through(model, [words(50)])
    before = pack(stream, model.config)
    list(islice(generate(model, stream), 60))
    assert pack(stream, model.config) == before
    assert torch.equal(following(model, [stream]), following(model, [through(model, [words(50)])]))
