"""The models that ship, at their own sizes: pieces, batches and copies never show, to the bit, while facts are written.

Bits depend on shapes, so a tiny model says nothing of these.
"""

import random
from itertools import pairwise
from typing import NamedTuple

import pytest
import torch
from memsvc_bench.needle_facts import facts

from memsvc.backbone.titans_mac.context_model import ContextModel
from memsvc.backbone.titans_mac.shelf import Shelf
from memsvc.backbone.titans_mac.stream import Stream, advance, following, pack, start, unpack

FACTS = 6


class Told(NamedTuple):
    """A model, and what it is told."""

    model: ContextModel
    rows: list[list[int]]
    """Tokens of three tenants."""


@pytest.fixture(scope="module", params=["text", "dialogue", "dna"])
def told(request) -> Told:
    model, rng = Shelf().find(request.param), random.Random("shipped")
    draw = facts(request.param, "similar", model.tokenizer)
    rows = []
    for _ in range(3):
        hay = [rng.randrange(model.model.config.vocabulary) for _ in range(rng.randrange(20, 150))]
        rows.append(
            [token for fact in draw(rng, FACTS) for token in (*fact.before, *fact.value, *fact.after, *hay[:30])]
        )
        rows[-1] += hay
    # Longer than one call of the model.
    rows[0] += [rng.randrange(model.model.config.vocabulary) for _ in range(1500)]
    return Told(model, rows)


def through(model: ContextModel, pieces: list[list[int]]) -> Stream:
    stream = start(model.model)
    for piece in pieces:
        stream = advance(model.model, [stream], [piece])[0].stream
    return stream


def same(model: ContextModel, a: Stream, b: Stream) -> bool:
    ends = [following(model.model, [each])[0] for each in (a, b)]
    return pack(a, model.model.config) == pack(b, model.model.config) and torch.equal(*ends)


def test_chunk_by_chunk_comes_to_one_pass(told):
    tokens, b = told.rows[0], told.model.chunk
    pieces = [tokens[at : at + b] for at in range(0, len(tokens), b)]
    assert same(told.model, through(told.model, pieces), through(told.model, [tokens]))


@pytest.mark.parametrize("seed", range(3))
def test_pieces_come_to_one_pass(told, seed):
    tokens = told.rows[0]
    edges = [0, *sorted(random.Random(seed).sample(range(len(tokens)), 5)), len(tokens)]
    pieces = [tokens[a:b] for a, b in pairwise(edges)]
    assert same(told.model, through(told.model, pieces), through(told.model, [tokens]))


def test_a_batch_of_tenants_equals_each_alone_while_facts_are_written(told):
    model = told.model.model
    together = advance(model, [start(model) for _ in told.rows], told.rows)
    assert all(each.wrote >= FACTS for each in together)
    for each, row in zip(together, told.rows, strict=True):
        assert same(told.model, each.stream, through(told.model, [row]))


def test_a_restored_stream_goes_on_to_the_same_tokens(told):
    stream = through(told.model, [told.rows[1]])
    restored = unpack(pack(stream, told.model.model.config), told.model.model)
    for _ in range(70):
        logits = [following(told.model.model, [each])[0] for each in (stream, restored)]
        assert torch.equal(*logits)
        token = int(logits[0].argmax())
        stream, restored = (advance(told.model.model, [each], [[token]])[0].stream for each in (stream, restored))
    assert same(told.model, stream, restored)
