"""The benchmark of first tokens in its short form, on the processor."""

from dataclasses import replace

import pytest
import torch
from memsvc_bench import first_token
from memsvc_bench.first_token import QUICK, Backbone
from memsvc_bench.random_mistral import fill, random_mistral
from memsvc_bench.report import Result

from memsvc.backbone.hf_cache import new_cache

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def result() -> Result:
    return first_token.bench(device="cpu", scale=QUICK)


def test_every_case_is_measured_in_every_way(result):
    ways = {"first_token_ms", "with_memory_of_2_layers_ms", "with_memory_of_3_layers_ms", "next_token_ms"}
    after, recalled = ("history of 128", "history of 512"), ("recalled 0, no history", "recalled 200, no history")
    for name in (*after, *recalled):
        row = result.figures[name]
        assert all(row[way] > 0 for way in ways)
    for depth in QUICK.depths:
        assert result.figures[f"memory of {depth} layers"]["read_ms"] > 0


def test_what_is_kept_of_a_history_are_its_keys_and_values(result):
    shape, bytes_each = QUICK.shape, torch.finfo(getattr(torch, result.figures["dtype"])).bits // 8
    a_token = 2 * shape.layers * shape.kv_heads * (shape.width // shape.heads) * bytes_each
    for tokens in QUICK.histories:
        kept = result.figures[f"history of {tokens}"]["kept_gb"] * 1e9
        # Beside them its ids, 64 bits each.
        assert kept == pytest.approx(tokens * (a_token + 8))


def test_the_checks_are_of_the_longest_history_and_the_most_recalled(result):
    checks = {check.name: check for check in result.checks}
    longest = result.figures["history of 512"]["first_token_ms"]
    assert checks["history of 512: first token, ms"].value == longest
    assert checks["history of 512: first token, over the shortest's"].value == pytest.approx(
        longest / result.figures["history of 128"]["first_token_ms"]
    )
    recalled = result.figures["recalled 200, no history"]["first_token_ms"]
    assert checks["recalled 200, no history: first token, ms"].value == recalled
    # A processor's memory is not measured, and what is not measured holds no target.
    assert not checks["history of 512: GB"].ok
    assert not checks["history of 512: GB, nothing kept"].ok


def test_the_model_looks_at_the_history_that_it_is_given():
    model = random_mistral(QUICK.shape, CPU, torch.float32)
    ids = torch.tensor([[1, 2, 3]])
    logits = []
    with torch.inference_mode():
        for tokens in (128, 128, 0):
            cache = new_cache(model.config, None)
            if tokens:
                fill(model, cache, tokens)
            logits.append(model(ids, past_key_values=cache, use_cache=True).logits[0, -1])
            assert cache.get_seq_length() == tokens + 3
    assert not any(torch.allclose(logits[a], logits[b]) for a, b in ((0, 1), (0, 2), (1, 2)))


@pytest.mark.parametrize("histories", [(), (100,), (128, 640)])
def test_a_history_that_could_not_be_reused_is_refused(histories):
    with pytest.raises(ValueError, match="histories: must be multiples of 128, up to 512"):
        Backbone(replace(QUICK, histories=histories), CPU)


def test_a_gpu_that_there_is_not_is_said(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="device: there is no GPU"):
        first_token.bench(device="cuda", scale=QUICK)
