"""A tiny model that does everything a real one does."""

import pytest
import torch

from memsvc.backbone.titans_mac.config import ContextMemoryConfig, MacConfig
from memsvc.backbone.titans_mac.model import TitansMac

VOCABULARY = 50


def tiny(depth=2, **memory):
    return MacConfig(
        vocabulary=VOCABULARY,
        width=32,
        heads=2,
        chunk=32,
        memory=ContextMemoryConfig(depth=depth, key=16, hidden=64, value=16, **memory),
    )


def lively(config, seed=0):
    """A model whose memory writes at some tokens, and matters."""
    torch.manual_seed(seed)
    model = TitansMac(config).eval()
    if model.memory is not None:
        torch.nn.init.normal_(model.memory.rates.weight, std=0.7)
        model.memory.rates.bias.data[3] = -1.0
        if model.entry.added is not None:
            torch.nn.init.normal_(model.entry.added.weight, std=0.5)
    return model


@pytest.fixture(scope="module")
def model():
    return lively(tiny())
