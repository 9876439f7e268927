"""A server that is not ours: `transformers serve`, on a CPU, with a model of random weights."""

import asyncio
import importlib.util
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from memsvc.backbone.base import Message, Prompt
from memsvc.errors import FailedPreconditionError
from tests.backbone.stub_caller import Came, build, gather

NEEDED = ("accelerate", "fastapi", "uvicorn")
MISSING = [name for name in NEEDED if importlib.util.find_spec(name) is None]
START_S = 120
TEMPLATE = (
    "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)
MESSAGES = (Message("system", "be brief"), Message("user", "who wrote the first program?"))

pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"transformers serve needs {', '.join(MISSING)}, not installed")


class Served(NamedTuple):
    url: str
    model: str
    reference: str
    """What the library itself generates after `MESSAGES`: `TOKENS` tokens, each a character."""
    prompt_tokens: int


TOKENS = 24


def save(folder: Path) -> None:
    """A Llama with random weights, whose tokens are the printable ASCII characters."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    table = dict(zip(sorted(pre_tokenizers.ByteLevel.alphabet()), range(256), strict=True))
    shown = [c for c in table if c.isascii()] + ["Ġ", "Ċ"]
    tokenizer = Tokenizer(models.BPE({c: i for i, c in enumerate(shown)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, chat_template=TEMPLATE).save_pretrained(folder)
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    special = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": 0}
    config = LlamaConfig(vocab_size=len(shown), max_position_embeddings=512, initializer_range=0.3, **shape, **special)
    model = LlamaForCausalLM(config)
    model.generation_config.do_sample = True  # else it draws at no temperature
    model.save_pretrained(folder)


def generate(folder: Path) -> tuple[str, int]:
    """What the library itself generates, and after how many tokens."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    messages = [{"role": m.role, "content": m.text} for m in MESSAGES]
    inputs = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    with torch.inference_mode():
        (ids,) = model.generate(**inputs, max_new_tokens=TOKENS, do_sample=False)
    length = inputs["input_ids"].shape[1]
    return tokenizer.decode(ids[length:]), length


@pytest.fixture(scope="module")
def served(tmp_path_factory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served") / "model"
    save(folder)
    reference, length = generate(folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", str(folder)]
    options = ["--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    env = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_UPDATE_CHECK": "1",
        "OMP_NUM_THREADS": "1",
        "HF_HOME": str(folder.parent / "hub"),
    }
    log = folder.parent / "log"
    with log.open("w") as out:
        process = subprocess.Popen([*command, *options], env=env, stdout=out, stderr=out)
    try:
        _wait(process, port, log)
        yield Served(f"http://127.0.0.1:{port}/v1", str(folder), reference, length)
    finally:
        process.terminate()
        process.wait(30)


def _wait(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with opener.open(f"http://127.0.0.1:{port}/health", timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    raise RuntimeError(f"the server did not start: {log.read_text()}")


async def ask(served: Served, **settings) -> Came:
    backbone = build(served.url, model=settings.pop("model", served.model))
    try:
        return await gather(backbone, Prompt(messages=MESSAGES, **{"max_tokens": TOKENS, **settings}))
    finally:
        await backbone.close()


async def test_it_answers_as_the_library_does(served) -> None:
    pieces, usage, error = await ask(served)
    assert error is None
    assert "".join(pieces) == served.reference
    assert len(pieces) > 1
    assert usage == ("length", served.prompt_tokens, 0, TOKENS)


async def test_it_ends_before_a_stop(served) -> None:
    at = len(served.reference) // 2
    stop = served.reference[at : at + 3]
    pieces, usage, _ = await ask(served, stop=(stop,))
    assert usage is not None
    assert ("".join(pieces), usage.finish) == (served.reference[: served.reference.index(stop)], "stop")


async def test_a_seed_draws_the_same_again(served) -> None:
    first, again, other = ["".join((await ask(served, temperature=1.5, seed=seed)).pieces) for seed in (1, 1, 2)]
    assert first == again != other


async def test_what_is_left_early_leaves_it_well(served) -> None:
    backbone = build(served.url, model=served.model)
    items = backbone.generate(Prompt(messages=MESSAGES, max_tokens=400))
    await anext(items)
    await items.aclose()
    came = await gather(backbone, Prompt(messages=MESSAGES, max_tokens=TOKENS))
    assert "".join(came.pieces) == served.reference
    await backbone.close()


async def test_several_at_once(served) -> None:
    came = await asyncio.gather(*(ask(served) for _ in range(3)))
    assert ["".join(one.pieces) for one in came] == [served.reference] * 3


async def test_another_model_is_refused(served) -> None:
    came = await ask(served, model="gpt-oss")
    assert isinstance(came.error, FailedPreconditionError)
    assert "gpt-oss" in str(came.error)
