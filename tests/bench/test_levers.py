"""The levers of the memory's benchmark: what they leave as it is, and what they change."""

from dataclasses import replace

import pytest
import torch
from memsvc_bench.corpus import Passage, Question, Stream
from memsvc_bench.lever_backend import LeverDevice, Orthogonal, SecondOrder
from memsvc_bench.levers import LEVERS, compare, learnt_of
from memsvc_bench.memory import merge

from memsvc.engine.runner import prepare_thread
from memsvc.memory.config import MemoryConfig
from memsvc.memory.state import MemoryStack
from memsvc.memory.step import read, update
from memsvc.recall.encoder import load_encoder

CONFIG = MemoryConfig(layers=3, width=24, chunk=16, theta=0.5)


def chunks(n: int) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(n, 1, 16, 24, generator=torch.Generator().manual_seed(0)), dim=-1)


def stepped(device: LeverDevice | None = None, n: int = 12) -> MemoryStack:
    stack = MemoryStack(CONFIG, 1, device=device)
    for chunk in chunks(n):
        update(stack, [0], [CONFIG], [0.0], chunk)
    return stack


def same(ours: MemoryStack, theirs: MemoryStack) -> bool:
    return all(torch.allclose(a, b, atol=1e-6) for a, b in zip(ours.weights, theirs.weights, strict=True))


def test_a_lever_that_changes_nothing_is_the_default_memory() -> None:
    plain = stepped()
    assert same(stepped(LeverDevice()), plain)
    assert same(stepped(LeverDevice(SecondOrder(1e6, 1.0))), plain), "all directions damped alike"
    assert same(stepped(LeverDevice(start=torch.zeros_like(plain.delta[0]))), plain)
    assert not same(stepped(LeverDevice(SecondOrder(0.1, 1.0))), plain)


def test_orthogonal_steps_are_equally_long_in_all_directions() -> None:
    stack = stepped(LeverDevice(Orthogonal(0.01)), n=1)
    sizes = torch.linalg.svdvals(stack.delta[0, -1]) / 0.01  # the other layers learn once this one is not zero
    assert ((sizes[:8] > 0.5) & (sizes[:8] < 1.5)).all()
    assert (sizes[16:] < 0.01).all(), "a chunk has no more directions"


def test_a_memory_starts_with_what_was_learnt_and_decays_to_it() -> None:
    learnt = stepped().delta[0]
    device = LeverDevice(start=learnt)
    fresh = MemoryStack(CONFIG, 1, device=device)
    x = chunks(1)[0, 0]
    taught = stepped()
    assert torch.allclose(read(fresh, 0, x), read(taught, 0, x), atol=1e-6)
    for chunk in chunks(12):
        update(fresh, [0], [replace(CONFIG, half_life=10.0, theta=1e-9)], [0.0], chunk)
    assert torch.allclose(read(fresh, 0, x), read(taught, 0, x), atol=1e-5)


@pytest.fixture(scope="module")
def found():
    prepare_thread(1)
    things = ("acgtac", "ttgaca", "ggcatc", "cgcgta", "atatcc", "gacctt")
    entries = [Passage("s", "".join(things[(i * j + j) % 6] for j in range(1, 9))) for i in range(60)]
    stream = Stream("a", entries, [Question(entries[i].text[:30], frozenset({i}), "x") for i in range(0, 60, 7)])
    corpora = {"locomo": [stream], "merged": [merge([stream])], "documents": [stream._replace(name="d")]}
    encoder = load_encoder("kmer", threads=1, dtype="float32")
    return compare(encoder, corpora, {name: LEVERS[name] for name in list(LEVERS)[::3]}), learnt_of(encoder, stream)


def test_every_lever_is_asked_every_question_of_every_corpus(found) -> None:
    at, learnt = found
    assert list(at) == ["ridge residual", "default", *list(LEVERS)[::3]]
    for rows in at.values():
        assert list(rows) == ["locomo", "merged", "documents"]
        assert all(len(values) == 9 and ((values >= 0) & (values <= 1)).all() for values in rows.values())
    assert learnt.any()
