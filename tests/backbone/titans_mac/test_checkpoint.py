"""Models as files."""

import hashlib
import json

import pytest
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models

from memsvc.backbone.titans_mac.checkpoint import load, save
from memsvc.errors import FailedPreconditionError
from tests.backbone.titans_mac.conftest import VOCABULARY


def test_a_saved_model_answers_as_before(model, tmp_path):
    tokenizer = Tokenizer(models.WordLevel({"a": 0, "b": 1}, unk_token="a"))
    path = tmp_path / "model.safetensors"
    save(path, model, tokenizer, {"kind": "test"})
    loaded = load(path)
    assert loaded.model.config == model.config
    assert loaded.card == {"kind": "test"}
    assert loaded.tokenizer.encode("b").ids == [1]
    assert loaded.digest == hashlib.sha256(path.read_bytes()).hexdigest()
    tokens = torch.arange(32)[None] % VOCABULARY
    with torch.no_grad():
        expected = model.stream(tokens, model.initial(1)).hidden
        assert torch.equal(loaded.model.stream(tokens, loaded.model.initial(1)).hidden, expected)
    assert not any(parameter.requires_grad for parameter in loaded.model.parameters())
    save(tmp_path / "again.safetensors", model, tokenizer, {"kind": "test"})
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ({}, "no titans-mac model"),
        ({"titans-mac": "{"}, "no titans-mac model"),
        ({"titans-mac": json.dumps({"format": 2})}, "format 2"),
        ({"titans-mac": json.dumps({"format": 1, "config": {"vocabulary": 0}})}, "vocabulary"),
        ({"titans-mac": json.dumps({"format": 1, "config": {"vocabulary": 5}})}, "no titans-mac model"),
    ],
)
def test_other_files_are_refused(header, reason, tmp_path):
    path = tmp_path / "model.safetensors"
    save_file({"x": torch.zeros(1)}, path, header)
    with pytest.raises(FailedPreconditionError, match=reason):
        load(path)


def test_a_missing_and_a_damaged_file_are_refused(tmp_path):
    with pytest.raises(FailedPreconditionError, match="there is no model"):
        load(tmp_path / "model.safetensors")
    (tmp_path / "model.safetensors").write_bytes(b"no model")
    with pytest.raises(FailedPreconditionError, match="no titans-mac model"):
        load(tmp_path / "model.safetensors")
