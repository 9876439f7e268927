"""What is reused of a tenant's last prompt, and the window that slides."""

import asyncio
from contextlib import aclosing
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, GPT2Config, MistralConfig

from memsvc.backbone import hf_passes
from memsvc.backbone.hf_passes import Passes
from memsvc.errors import (
    FailedPreconditionError,
    InvalidArgumentError,
)
from tests.backbone.hf_build import LINES, LONG, answer, ask, llama, opened, reference, save

BLOCK = hf_passes.BLOCK["cpu"]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    return save(tmp_path_factory.mktemp("tiny"))


@pytest.mark.parametrize("settings", [{}, {"temperature": 1.0, "seed": 3}])
async def test_what_is_reused_changes_no_answer(tiny, settings) -> None:
    turns = [LONG, LONG + LINES[2], LONG + LINES[3] + LONG, LINES[0], LONG]
    async with opened(tiny) as backbone, opened(tiny, prefix_bytes=0) as forgetful:
        seen = []
        for text in turns:
            said, usage = await answer(backbone, ask(text, tenant="a", **settings))
            fresh, none = await answer(forgetful, ask(text, tenant="a", **settings))
            assert said == fresh
            assert usage._replace(cached_tokens=0) == none
            assert usage.cached_tokens < usage.prompt_tokens
            seen.append(usage.cached_tokens)
    # Up to where a prompt differs from the tenant's last, down to a block's start.
    assert seen[0] == 0
    assert seen[1] == seen[2] == 2 * BLOCK
    assert seen[3] == 0


async def test_a_window_of_the_models_own_is_reused_whole_or_not(tmp_path) -> None:
    """Of a longer prompt its first keys are gone."""
    own = {**llama().to_dict(), "model_type": "mistral", "architectures": None, "sliding_window": 50}
    save(tmp_path, MistralConfig(**own))
    async with opened(tmp_path) as backbone:
        whole, part, short = (ask(text, tenant="a", max_tokens=40) for text in (LONG, LONG[:-90] + LINES[3], "hi"))
        said = [await answer(backbone, prompt) for prompt in (whole, whole, part, short)]
    assert [text for text, _ in said] == [reference(tmp_path, prompt)[0] for prompt in (whole, whole, part, short)]
    assert [usage.cached_tokens > 0 for _, usage in said] == [False, True, False, False]


async def test_a_prompt_is_reused_up_to_its_last_token(tiny) -> None:
    """One token is always computed: the answer begins there."""
    async with opened(tiny) as backbone:
        _, usage = await answer(backbone, ask(LONG, tenant="a"))
        fill = BLOCK - usage.prompt_tokens % BLOCK
        prompt = ask(LONG + "9" * fill, tenant="b")
        first, usage = await answer(backbone, prompt)
        assert usage.prompt_tokens % BLOCK == 0
        again, reused = await answer(backbone, prompt)
    assert again == first
    assert reused.cached_tokens == usage.prompt_tokens - BLOCK


async def test_nothing_is_reused_of_another_tenant(tiny) -> None:
    async with opened(tiny) as backbone:
        for tenant in ("a", "b", ""):
            assert (await answer(backbone, ask(LONG, tenant=tenant)))[1].cached_tokens == 0
        assert (await answer(backbone, ask(LONG)))[1].cached_tokens == 0
        for tenant in ("a", "b"):
            assert (await answer(backbone, ask(LONG, tenant=tenant)))[1].cached_tokens > 0


async def test_what_is_kept_is_bounded_over_all_tenants(tiny) -> None:
    async with opened(tiny) as backbone:
        await answer(backbone, ask(LONG, tenant="a"))
        one = backbone._prefixes.nbytes
    assert one > 0
    async with opened(tiny, prefix_bytes=2 * one) as backbone:

        async def cached(tenant: str) -> int:
            usage = (await answer(backbone, ask(LONG, tenant=tenant)))[1]
            assert backbone._prefixes.nbytes <= 2 * one
            return usage.cached_tokens

        assert [await cached(t) for t in "ab"] == [0, 0]
        assert await cached("a") > 0
        # The tenant not heard of longest leaves.
        assert await cached("c") == 0
        assert await cached("a") > 0
        assert await cached("b") == 0
        # One that is larger than the bound drives nobody out.
        await answer(backbone, ask(LONG * 3, tenant="d"))
        assert await cached("b") > 0
    async with opened(tiny, prefix_bytes=one - 1) as backbone:
        assert [await cached("a"), await cached("a")] == [0, 0]


async def test_a_tenant_is_forgotten(tiny) -> None:
    async with opened(tiny, running=1) as backbone:
        for tenant in ("a", "b"):
            await answer(backbone, ask(LONG, tenant=tenant))
        backbone.forget("a")
        backbone.forget("never heard of")
        assert (await answer(backbone, ask(LONG, tenant="b")))[1].cached_tokens > 0
        assert (await answer(backbone, ask(LONG, tenant="a")))[1].cached_tokens == 0
        # Nor do calls that began before bring it back: one under way, one waiting for its turn.
        async with aclosing(backbone.generate(ask(LINES[0], tenant="c", max_tokens=100))) as busy:
            await anext(busy)
            waiting = asyncio.create_task(answer(backbone, ask(LONG, tenant="a")))
            await asyncio.sleep(0)
            backbone.forget("a")
        assert (await waiting)[1].cached_tokens == 0
        assert (await answer(backbone, ask(LONG, tenant="a")))[1].cached_tokens == 0
        assert (await answer(backbone, ask(LONG, tenant="a")))[1].cached_tokens > 0


async def test_a_window_that_slides(tiny, tmp_path) -> None:
    """Past the window an answer is what a model gives that never attends to more than the newest tokens of it."""
    window, prompt = 40, ask(LINES[3], max_tokens=150)
    async with opened(tiny, window=window, slide=True) as backbone:
        said, usage = await answer(backbone, prompt)
        with pytest.raises(InvalidArgumentError, match="window of 40 takes 40"):
            await answer(backbone, ask(LONG, max_tokens=1))
    assert usage.completion_tokens == 150
    sliding = MistralConfig(
        **{**llama().to_dict(), "model_type": "mistral", "architectures": None, "sliding_window": window}
    )
    save(tmp_path, sliding)
    weights = AutoModelForCausalLM.from_pretrained(tiny).state_dict()
    model = AutoModelForCausalLM.from_pretrained(tmp_path)
    model.load_state_dict(weights)
    model.save_pretrained(tmp_path)
    assert said == reference(tmp_path, prompt, use_cache=False)[0]
    assert said != reference(tiny, prompt)[0]


async def test_past_the_window_memory_stays_as_it_is(tiny, monkeypatch) -> None:
    sizes = []
    forward = Passes.next

    def measured(self, ids, cache):
        logits = forward(self, ids, cache)
        sizes.append(sum(t.untyped_storage().nbytes() for layer in cache.layers for t in (layer.keys, layer.values)))
        return logits

    monkeypatch.setattr(Passes, "next", measured)
    async with opened(tiny, window=40, slide=True) as backbone:
        await answer(backbone, ask("hi", max_tokens=200))
    assert len(sizes) > 150
    assert sizes[0] < sizes[10]
    assert len(set(sizes[60:])) == 1


async def test_a_model_that_cannot_slide(tmp_path) -> None:
    save(tmp_path, GPT2Config(vocab_size=401, n_positions=64, n_embd=32, n_layer=2, n_head=2))
    with pytest.raises(FailedPreconditionError, match="slide"):
        async with opened(tmp_path, slide=True):
            pass
    with pytest.raises(FailedPreconditionError, match="64 tokens, fewer than a window of 65"):
        async with opened(tmp_path, window=65):
            pass


async def test_what_is_reused_has_the_bits_that_it_would_have(tiny, monkeypatch) -> None:
    seen = []
    forward = Passes.next

    def noted(self, ids, cache):
        seen.append(forward(self, ids, cache))
        return seen[-1]

    monkeypatch.setattr(Passes, "next", noted)
    async with opened(tiny) as backbone:
        await answer(backbone, ask(LONG + LINES[2], max_tokens=5))
        fresh = seen.copy()
        await answer(backbone, ask(LONG + LINES[3] * 2, tenant="a"))
        seen.clear()
        _, usage = await answer(backbone, ask(LONG + LINES[2], tenant="a", max_tokens=5))
    assert usage.cached_tokens > 0
    assert len(seen) < len(fresh)
    assert all(map(torch.equal, reversed(seen), reversed(fresh)))
