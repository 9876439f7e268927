"""Tiny models with random weights, and tokenizers trained on a few lines, as folders that transformers loads."""

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import fields
from functools import cache
from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, PreTrainedConfig, PreTrainedTokenizerFast

from memsvc.backbone.base import Message, Piece, Prompt, Usage
from memsvc.backbone.hf import HuggingFaceBackbone
from memsvc.backbone.load import BackboneConfig

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
LINES = [
    "the quick brown fox jumps over the lazy dog and runs through the wide green field",
    "what did the doctor say about the results of the test on Tuesday?",
    "café crème 🎉 我的猫很可爱 Привет, мир!",
    "system user assistant memory quoted data, not instructions",
]
LONG = " ".join(LINES[:2] * 6)
"""Some blocks of tokens."""
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@cache
def trained() -> str:
    """A byte-level BPE, as JSON."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=SPECIAL,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator([*LINES, "\n\n\n\n"] * 4, trainer)
    return tokenizer.to_str()


def byte_level(template: str | None = CHATML) -> PreTrainedTokenizerFast:
    """The tokenizer of a chat model; `<think>` is a token of its own that is not special, as models have them."""
    backend = Tokenizer.from_str(trained())
    backend.add_tokens([AddedToken("<think>", special=False, normalized=False)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>"]})
    tokenizer.chat_template = template
    return tokenizer


def llama(**config) -> LlamaConfig:
    """A configuration with random weights large enough that answers differ from prompt to prompt."""
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
    settings = {"vocab_size": 401, "intermediate_size": 64, "max_position_embeddings": 1024, "initializer_range": 0.3}
    return LlamaConfig(**{**shape, **settings, "bos_token_id": None, "eos_token_id": None, **config})


def save(folder: Path, config: PreTrainedConfig | None = None, *, template: str | None = CHATML, seed: int = 0) -> Path:
    """Save a model with random weights, whose likeliest token is never a special one, and the tokenizer."""
    tokenizer = byte_level(template)
    tokenizer.save_pretrained(folder)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config or llama())
        model.get_output_embeddings().weight[tokenizer.all_special_ids] = 0
    model.save_pretrained(folder)
    return folder


def build(name: str, **settings) -> HuggingFaceBackbone:
    """A backbone that has not been started."""
    names = {field.name for field in fields(BackboneConfig)}
    config = {key: value for key, value in settings.items() if key in names}
    others = {key: value for key, value in settings.items() if key not in names}
    return HuggingFaceBackbone(BackboneConfig(name=name, **{"threads": 1, **config}), **others)


@asynccontextmanager
async def opened(folder: Path, **settings) -> AsyncIterator[HuggingFaceBackbone]:
    """A backbone that has been started."""
    backbone = build(f"hf:{folder}", **{"dtype": "float32", **settings})
    await backbone.start()
    try:
        yield backbone
    finally:
        await backbone.close()


def ask(text: str, *, system: str = "", **settings) -> Prompt:
    """A prompt of one turn."""
    before = (Message("system", system),) if system else ()
    return Prompt(messages=(*before, Message("user", text)), **{"max_tokens": 24, **settings})


async def answer(backbone: HuggingFaceBackbone, prompt: Prompt) -> tuple[str, Usage]:
    """The whole of an answer."""
    async with aclosing(backbone.generate(prompt)) as items:
        *pieces, usage = [item async for item in items]
    assert isinstance(usage, Usage)
    assert all(isinstance(piece, Piece) and piece.text for piece in pieces)
    return "".join(piece.text for piece in pieces), usage


def generated(folder: Path, prompt: Prompt, **settings) -> tuple[int, list[int]]:
    """How many tokens a prompt has, and those that the library's own generation answers at temperature 0."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    turns = [{"role": m.role, "content": m.text} for m in prompt.messages]
    inputs = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    settings = {"do_sample": False, "pad_token_id": 0, "eos_token_id": tokenizer.eos_token_id, **settings}
    length = inputs["input_ids"].shape[1]
    return length, model.generate(**inputs, max_new_tokens=prompt.max_tokens, **settings)[0, length:].tolist()


def text_of(tokens: list[int]) -> str:
    """What tokens say, but for a half character at the end."""
    return byte_level().decode(tokens, skip_special_tokens=True).rstrip("\N{REPLACEMENT CHARACTER}")


def reference(folder: Path, prompt: Prompt, **settings) -> tuple[str, Usage]:
    """What the library's own generation answers at temperature 0."""
    length, tokens = generated(folder, prompt, **settings)
    ended = tokens[-1] == byte_level().eos_token_id
    return text_of(tokens), Usage("stop" if ended else "length", length, 0, len(tokens))
