"""What the memory's steps multiply: chosen by a setting, a part of the numerics."""

import pytest
import torch

from memsvc.dtypes import choose_dtype
from memsvc.engine.config import EngineConfig
from memsvc.engine.engine import Engine
from memsvc.engine.runner import Runner
from memsvc.errors import FailedPreconditionError
from memsvc.memory.device import CpuDevice
from memsvc.recall.encoder import load_encoder
from tests.double.store import Data, MemoryStore


@pytest.mark.parametrize("supported", [True, False])
def test_auto_is_what_the_processor_has(monkeypatch, supported):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: supported)
    assert choose_dtype("auto", "memory_dtype") == (torch.bfloat16 if supported else torch.float32)
    assert choose_dtype("float32", "memory_dtype") == torch.float32


def test_what_the_processor_has_not_is_refused_by_the_settings_name(monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    with pytest.raises(FailedPreconditionError, match="memory_dtype: this device does not compute bfloat16"):
        Engine(MemoryStore(Data(), lambda: 1), EngineConfig(encoder="kmer", memory_dtype="bfloat16"))


def test_it_is_a_part_of_the_numerics():
    encoder = load_encoder("kmer", threads=1)
    names = {Runner(encoder, 1, CpuDevice(products)).fingerprint for products in (torch.float32, torch.bfloat16)}
    assert len(names) == 2
