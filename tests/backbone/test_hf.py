"""A model of Hugging Face answers, as the library's own generation would."""

import asyncio
from contextlib import aclosing
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM, GPT2Config, MistralConfig, Qwen2Config

from memsvc.backbone.base import Message, Piece, Prompt, Usage
from memsvc.errors import (
    FailedPreconditionError,
    InvalidArgumentError,
)
from tests.backbone.hf_build import LINES, LONG, answer, ask, build, generated, llama, opened, reference, save, text_of


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    return save(tmp_path_factory.mktemp("tiny"))


@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize("text", [LINES[1], LONG])
async def test_it_answers_as_the_library_does(tiny, text, cached) -> None:
    prompt = ask(text, system="Be brief.", max_tokens=40)
    async with opened(tiny) as backbone:
        said = await answer(backbone, prompt)
    assert said == reference(tiny, prompt, use_cache=cached)
    assert said[1].completion_tokens > 20


@pytest.mark.parametrize(
    "config",
    [
        Qwen2Config(**{**llama().to_dict(), "model_type": "qwen2", "architectures": None}),
        MistralConfig(**{**llama().to_dict(), "model_type": "mistral", "architectures": None, "sliding_window": 50}),
        GPT2Config(vocab_size=401, n_positions=1024, n_embd=32, n_layer=2, n_head=2, initializer_range=0.3),
    ],
    ids=["qwen", "mistral", "gpt"],
)
async def test_other_kinds_of_models(tmp_path, config) -> None:
    """A model's own sliding window is kept to, in blocks and with what is reused."""
    save(tmp_path, config)
    prompt = ask(LONG, max_tokens=30, tenant="a")
    async with opened(tmp_path) as backbone:
        first, again = [await answer(backbone, prompt) for _ in range(2)]
    assert first == reference(tmp_path, prompt)
    assert first[1].completion_tokens > 10
    assert again[0] == first[0]
    assert again[1].cached_tokens > 0


async def test_an_end_token_ends_the_answer(tmp_path) -> None:
    prompt = ask(LINES[0])
    _, tokens = generated(save(tmp_path), prompt)
    end = tokens[10]
    model = AutoModelForCausalLM.from_pretrained(tmp_path)
    # A model may have several, of which the tokenizer knows one.
    model.generation_config.eos_token_id = [400, end]
    model.generation_config.save_pretrained(tmp_path)
    async with opened(tmp_path) as backbone:
        said, usage = await answer(backbone, prompt)
    first = tokens.index(end)
    assert (usage.finish, usage.completion_tokens) == ("stop", first + 1)
    assert said == text_of(tokens[:first])


async def test_a_stop_may_span_tokens(tiny) -> None:
    async with opened(tiny) as backbone:
        full, _ = await answer(backbone, ask(LINES[0]))
        for at, length in ((0, 3), (5, 4), (9, 1), (len(full) - 3, 3)):
            stop = full[at : at + length]
            said, usage = await answer(backbone, ask(LINES[0], stop=("never said", stop)))
            assert said == full[: full.index(stop)]
            assert usage.finish == "stop"
        said, usage = await answer(backbone, ask(LINES[0], stop=(full[-2:] + "?!",)))
        assert (said, usage.finish) == (full, "length")


async def test_seeds(tiny) -> None:
    def prompt(seed: int | None, **settings) -> Prompt:
        return ask(LINES[0], seed=seed, **{"temperature": 1.0, **settings})

    async with opened(tiny, running=3) as backbone:
        alone = [await answer(backbone, prompt(seed)) for seed in range(5)]
        assert len({said for said, _ in alone}) == 5
        # In company: of others, of those without a seed, of longer ones.
        others = [ask(LONG, temperature=2.0), prompt(None), ask(LINES[3], max_tokens=50)]
        together = await asyncio.gather(*(answer(backbone, p) for p in (*map(prompt, range(5)), *others)))
        assert together[:5] == alone
        assert len({(await answer(backbone, prompt(None)))[0] for _ in range(3)}) == 3
        greedy = await answer(backbone, ask(LINES[0]))
        assert await answer(backbone, prompt(1, top_p=1e-6)) == greedy
        assert await answer(backbone, prompt(1, temperature=1e-300)) == greedy
        for seed in (-1, 1 << 64, -(1 << 63)):
            await answer(backbone, prompt(seed, max_tokens=1))


async def test_a_prompt_longer_than_the_window(tiny) -> None:
    async with opened(tiny) as backbone:
        _, usage = await answer(backbone, ask(LONG, max_tokens=1))
    window = usage.prompt_tokens + 10
    async with opened(tiny, window=window) as backbone:
        assert (await answer(backbone, ask(LONG, max_tokens=10)))[1].completion_tokens == 10
        for prompt in (ask(LONG, max_tokens=11), ask(LONG, max_tokens=10_000), ask(LONG * 2, max_tokens=10)):
            with pytest.raises(InvalidArgumentError) as caught:
                await answer(backbone, prompt)
            assert (caught.value.field, caught.value.reason) == ("prompt", "PROMPT_TOO_LONG")
        assert str(caught.value).startswith("prompt: has ")
        assert f"window of {window}, beside an answer of 10, takes {usage.prompt_tokens}" in str(caught.value)


async def test_a_tokenizer_of_another_model(tmp_path) -> None:
    save(tmp_path, llama(vocab_size=300))
    async with opened(tmp_path) as backbone:
        with pytest.raises(FailedPreconditionError, match="more tokens than it knows"):
            await answer(backbone, ask("the quick brown fox"))


async def test_plain_text(tmp_path) -> None:
    save(tmp_path, template=None)
    prompt = ask("the quick")
    async with opened(tmp_path) as backbone:
        with pytest.raises(FailedPreconditionError, match="chat template") as caught:
            await answer(backbone, prompt)
        assert caught.value.reason == "NO_CHAT_TEMPLATE"
    async with opened(tmp_path, plain=True) as backbone:
        assert (await answer(backbone, prompt))[1].prompt_tokens == 2
        with pytest.raises(InvalidArgumentError, match="prompt: is empty"):
            await answer(backbone, Prompt(messages=(Message("user", ""),)))


async def test_how_many_tokens_recalled_entries_may_take(tiny) -> None:
    backbone = build(f"hf:{tiny}")
    assert backbone.context_tokens(131_072) == 0
    async with opened(tiny) as backbone:
        assert backbone.name == f"hf:{tiny}"
        assert backbone.context_tokens(131_072) == 256
        assert backbone.context_tokens(400) == 100
    async with opened(tiny, context_tokens=7) as backbone:
        assert backbone.context_tokens(131_072) == 7


async def test_pieces_come_one_by_one(tiny) -> None:
    async with opened(tiny) as backbone, aclosing(backbone.generate(ask(LINES[0]))) as items:
        first = await anext(items)
        assert isinstance(first, Piece)
        rest = [item async for item in items]
        assert len(rest) > 8
        assert isinstance(rest[-1], Usage)
