"""A tiny model as a file, with a tokenizer of bytes and weights that nobody trained."""

from dataclasses import replace
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from memsvc.backbone.titans_mac import checkpoint
from memsvc.backbone.titans_mac.context_model import ContextModel
from tests.backbone.titans_mac.conftest import lively, tiny


def bytes_tokenizer() -> Tokenizer:
    vocabulary = {byte: i for i, byte in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def save(path: Path, seed: int = 0) -> Path:
    """Write a model of that file name; its memory writes at some tokens, and matters."""
    path.parent.mkdir(parents=True, exist_ok=True)
    checkpoint.save(path, lively(replace(tiny(), vocabulary=256), seed), bytes_tokenizer(), {})
    return path


def loaded(path: Path) -> ContextModel:
    return ContextModel(path.stem, checkpoint.load(path))
