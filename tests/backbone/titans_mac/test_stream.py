"""What a stream promises: pieces, batches, copies and forks never show."""

import random
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from memsvc.backbone.titans_mac import memory as memory_module
from memsvc.backbone.titans_mac.step import read
from memsvc.backbone.titans_mac.stream import advance, following, pack, start, unpack
from memsvc.errors import DataLossError
from tests.backbone.titans_mac.conftest import VOCABULARY, lively, tiny

LENGTH = 170


def words(length, seed=0):
    return random.Random(seed).choices(range(VOCABULARY), k=length)


def through(model, pieces, stream=None):
    stream = stream or start(model)
    for piece in pieces:
        stream = advance(model, [stream], [piece])[0].stream
    return stream


def same(model, a, b):
    return pack(a, model.config) == pack(b, model.config) and torch.equal(following(model, [a]), following(model, [b]))


@given(cuts=st.lists(st.integers(0, LENGTH), max_size=8))
@settings(deadline=None, max_examples=30)
def test_pieces_of_any_size_come_to_one_pass(model, cuts):
    tokens, edges = words(LENGTH), [0, *sorted(cuts), LENGTH]
    pieces = [tokens[a:b] for a, b in pairwise(edges)]
    assert same(model, through(model, pieces), through(model, [tokens]))


def test_a_stream_equals_one_call_of_the_model(model):
    tokens, whole = words(128), through(model, [words(128)])
    with torch.no_grad():
        passed = model.stream(torch.tensor([tokens]), model.initial(1))
        expected = model.logits(passed.hidden)[0, -1]
    assert (following(model, [whole])[0] - expected).abs().max() < 1e-4
    assert 0 < float(passed.write.mean()) < 0.9


def test_it_is_told_what_became_whole_and_what_was_written(model):
    tokens = words(128)
    with torch.no_grad():
        write = model.stream(torch.tensor([tokens]), model.initial(1)).write[0]
    first = advance(model, [start(model)], [tokens[:40]])[0]
    second = advance(model, [first.stream], [tokens[40:97]])[0]
    nothing = advance(model, [second.stream], [tokens[97:]])[0]
    assert [(each.tokens, each.wrote) for each in (first, second, nothing)] == [
        (32, int(write[:32].sum())),
        (64, int(write[32:96].sum())),
        (0, 0),
    ]
    assert 0 < second.wrote < 64


@given(lengths=st.lists(st.integers(1, LENGTH), min_size=1, max_size=6), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=20)
def test_a_batch_of_tenants_equals_each_alone(model, lengths, seed):
    tokens = [words(length, seed + i) for i, length in enumerate(lengths)]
    more = [words(length % 40, i) for i, length in enumerate(lengths)]
    together = [each.stream for each in advance(model, [start(model) for _ in tokens], tokens)]
    together = [each.stream for each in advance(model, together, more)]
    logits = following(model, together)
    for i, (first, second) in enumerate(zip(tokens, more, strict=True)):
        alone = through(model, [first, second])
        assert same(model, alone, together[i])
        assert torch.equal(following(model, [alone])[0], logits[i])


@pytest.mark.parametrize("length", [1, 32, 33, 64, 77])
def test_a_restored_stream_goes_on_to_the_same_tokens(model, length):
    stream = through(model, [words(length)])
    packed = pack(stream, model.config)
    restored = unpack(packed, model)
    assert restored.tokens == stream.tokens == length
    assert pack(restored, model.config) == packed
    for _ in range(40):
        logits = following(model, [stream, restored])
        assert torch.equal(logits[0], logits[1])
        token = int(logits[0].argmax())
        stream, restored = (each.stream for each in advance(model, [stream, restored], [[token], [token]]))
    assert same(model, stream, restored)


def test_a_fork_leaves_its_origin_as_it_was(model):
    origin = through(model, [words(60)])
    before = pack(origin, model.config)
    forked = through(model, [words(80, 1)], origin)
    assert pack(origin, model.config) == before
    assert same(model, forked, through(model, [[*words(60), *words(80, 1)]]))


def test_a_state_takes_the_same_bytes_at_every_length(model):
    sizes = {len(pack(through(model, [words(length)]), model.config)) for length in (96, 480, 1920)}
    assert len(sizes) == 1


def test_what_was_written_long_ago_still_counts(model):
    """Two histories that differ beyond the window, and beyond all layers' reach, give different answers."""
    later, reach = words(400, 7), model.config.window * model.config.layers
    assert reach < 400
    one, other = through(model, [words(48, 1), later]), through(model, [words(48, 2), later])
    assert not torch.equal(following(model, [one]), following(model, [other]))
    bare = lively(tiny_without_memory())
    one, other = through(bare, [words(48, 1), later]), through(bare, [words(48, 2), later])
    assert torch.equal(following(bare, [one]), following(bare, [other]))


def tiny_without_memory():
    config = tiny().to_json() | {"memory_layer": None}
    return type(tiny()).from_json(config)


def test_damaged_or_foreign_bytes_are_refused(model):
    packed = pack(through(model, [words(30)]), model.config)
    with pytest.raises(DataLossError, match="damaged"):
        unpack(packed[:-1], model)
    with pytest.raises(DataLossError, match="another configuration"):
        unpack(packed, lively(tiny(3)))


def test_nothing_follows_a_stream_without_tokens(model):
    with pytest.raises(ValueError, match="without tokens"):
        following(model, [start(model)])


@pytest.mark.parametrize("chunks", [1, 4, 9])
@pytest.mark.parametrize("memory", [True, False])
def test_a_state_without_the_hidden_states_is_the_same_state(model, chunks, memory):
    state = lean = model.initial(2)
    for i in range(3):
        tokens = torch.tensor([words(32 * chunks, i), words(32 * chunks, 7 + i)])
        with torch.no_grad():
            passed = model.stream(tokens, state, memory=memory)
            short = model.stream(tokens, lean, memory=memory, hidden=False)
        state, lean = passed.state, short.state
        assert short.hidden.shape == (2, 0, 32)
        assert torch.equal(passed.write, short.write)
        for a, b in zip(state.tensors(), lean.tensors(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("surprise", [-0.05, 0.0, 0.5])
def test_of_a_state_alone_only_what_might_write_is_read(monkeypatch, surprise):
    """Chunks whose gate no surprise could open are passed over, the last ones excepted, and nothing changes by it."""
    model, reads = lively(tiny()), []
    assert model.memory is not None
    monkeypatch.setattr(memory_module, "read", lambda *given: reads.append(1) or read(*given))
    model.memory.rates.bias.data[3] = -9.0
    model.memory.surprise.data.fill_(surprise)
    tokens = torch.tensor([words(32 * 24, 1), words(32 * 24, 2)])
    with torch.no_grad():
        whole = model.stream(tokens, model.initial(2))
        assert len(reads) == 24
        short = model.stream(tokens, model.initial(2), hidden=False)
    assert torch.equal(whole.write, short.write)
    assert float(whole.write.sum()) > 0
    for a, b in zip(whole.state.memory.delta, short.state.memory.delta, strict=True):
        assert torch.equal(a, b)
    last = 2 * (model.config.layers - model.config.memory_layer)
    writing = int(whole.write.view(2, 24, 32).any(2).any(0)[:-last].sum())
    # Where surprise opens the gate, there is no bound.
    assert len(reads) - 24 == 24 if surprise > 0 else writing <= len(reads) - 24 - last < 24 - last
