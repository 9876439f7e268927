"""Which models are taken, and what is said of those that are not."""

import json
import logging
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, save_file
from transformers import BertConfig

from memsvc.errors import (
    FailedPreconditionError,
    MemsvcError,
)
from tests.backbone.hf_build import answer, ask, build, opened, save


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    return save(tmp_path_factory.mktemp("tiny"))


async def refused(name: str, **settings) -> MemsvcError:
    backbone = build(name, **settings)
    with pytest.raises(FailedPreconditionError, match="backbone") as caught:
        await backbone.start()
    await backbone.close()
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("name", ["hf:no-such/model-anywhere", "hf:no-such-model", "hf:/no/such/folder"])
async def test_a_model_that_is_not_here(name) -> None:
    error = await refused(name)
    assert "is not here" in str(error)
    assert error.metadata["field"] == "backbone"


def spoil(folder: Path, name: str, content: bytes | None) -> None:
    path = folder / name
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("model.safetensors", None),
        ("model.safetensors", b""),
        ("model.safetensors", b"\xff" * 999),
        ("config.json", None),
        ("config.json", b"{"),
        ("config.json", b"{}"),
        ("tokenizer.json", b"{}"),
        ("tokenizer.json", b"\x00"),
    ],
)
async def test_a_damaged_folder(tmp_path, name, content) -> None:
    save(tmp_path)
    spoil(tmp_path, name, content)
    assert "damaged" in str(await refused(f"hf:{tmp_path}"))


async def test_no_program_of_a_model_is_run(tmp_path) -> None:
    ran = tmp_path / "ran"
    save(tmp_path)
    (tmp_path / "own.py").write_text(f"open({str(ran)!r}, 'w')\n")
    classes = {
        "AutoConfig": "own.Config",
        "AutoModelForCausalLM": "own.Model",
        "AutoTokenizer": ["own.Tokenizer", None],
    }
    for name in ("config.json", "tokenizer_config.json"):
        settings = {"model_type": "own", "tokenizer_class": "Own", "auto_map": classes}
        spoil(tmp_path, name, json.dumps(settings).encode())
    assert "transformers loads no text generation from it" in str(await refused(f"hf:{tmp_path}"))
    assert not ran.exists()


async def test_weights_cut_short_or_of_another_shape(tmp_path) -> None:
    path = save(tmp_path) / "model.safetensors"
    whole = path.read_bytes()
    weights = load(whole)
    path.write_bytes(whole[: len(whole) // 2])
    assert "damaged" in str(await refused(f"hf:{tmp_path}"))
    name = "model.layers.1.mlp.up_proj.weight"
    save_file({**weights, name: weights[name][:3].clone()}, path, {"format": "pt"})
    assert "damaged" in str(await refused(f"hf:{tmp_path}"))
    del weights[name]
    save_file(weights, path, {"format": "pt"})
    assert f"lacks weights: {name}" in str(await refused(f"hf:{tmp_path}"))


async def test_a_model_that_generates_nothing(tmp_path) -> None:
    shape = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    save(tmp_path, BertConfig(vocab_size=401, initializer_range=0.3, is_decoder=False, **shape))
    assert "does not generate text" in str(await refused(f"hf:{tmp_path}"))


@pytest.mark.parametrize("supported", [False, True])
async def test_bfloat16_only_where_the_processor_computes_it(tiny, monkeypatch, supported) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: supported)
    for dtype in ("auto", "float32"):
        async with opened(tiny, dtype=dtype) as backbone:
            weight = next(backbone._decoder._model.module.parameters())
            assert (weight.dtype == torch.bfloat16) == (supported and dtype == "auto")
            assert (await answer(backbone, ask("hi")))[1].completion_tokens == 24
    if not supported:
        assert "bfloat16" in str(await refused(f"hf:{tiny}", dtype="bfloat16"))


async def test_loading_writes_nothing(tiny, capfd, caplog) -> None:
    with caplog.at_level(logging.DEBUG, "transformers"):
        async with opened(tiny):
            pass
    assert capfd.readouterr() == ("", "")
