"""Tenants whose weights are on a device apart from the host, more of them than its slots."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from memsvc_kernels import Backend

from memsvc.engine import engine as engines
from memsvc.engine.config import EngineConfig
from memsvc.engine.engine import Engine
from memsvc.engine.runner import Runner
from memsvc.errors import FailedPreconditionError
from memsvc.memory.device import CpuDevice, Device
from memsvc.recall.encoder import load_encoder
from tests.double.store import Data, MemoryStore
from tests.engine.conftest import create, running, state, turns
from tests.engine.fake_device import FakeDevice
from tests.engine.narrow import WIDTH, Narrow
from tests.kernels.arithmetic import needs_triton

TENANTS = ["t0", "t1", "t2"]
SLOTS = 2

gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")


@dataclass
class Made:
    """How engines are made in a test."""

    memory: dict[str, int]
    """Of every tenant."""
    fakes: list[FakeDevice]
    """Devices that stood in."""


def interpreted() -> Backend:
    from memsvc_kernels.triton import TritonBackend

    return TritonBackend("cpu")


@pytest.fixture(
    params=[
        "late",
        pytest.param("interpreted", marks=[needs_triton, pytest.mark.skipif("torch.cuda.is_available()")]),
        pytest.param("cuda", marks=gpu),
    ]
)
def made(request, monkeypatch) -> Made:
    if request.param == "cuda":
        return Made({"chunk": 32}, [])
    made = Made({"width": WIDTH, "chunk": 32}, [])

    def choose(name: str, dtype: str) -> Device:
        if name == "cpu":
            return CpuDevice()
        made.fakes.append(FakeDevice(len(made.fakes), interpreted() if request.param == "interpreted" else None))
        return made.fakes[-1]

    monkeypatch.setattr(engines, "choose_device", choose)
    monkeypatch.setattr(engines, "load_encoder", lambda *args, **kwargs: Narrow())
    return made


async def write(engine: Engine, tenant: str, round: int) -> None:
    """Each tenant its own things."""
    start = 1000 * TENANTS.index(tenant) + 10 * round
    await engine.write(tenant, turns(3, start), applied=round == 1)


@pytest.mark.parametrize("offload", [False, True])
async def test_a_tenant_among_others_is_what_it_is_alone_and_after_it_was_opened_again(made, tmp_path, offload):
    settings = {"memory_device": "cuda", "slots": SLOTS, "snapshot_min_tokens": 0, "offload": offload}
    async with running(tmp_path / "all", **settings) as engine:
        for tenant in TENANTS:
            await create(engine, tenant, **made.memory)
        for round in range(2):
            for tenant in TENANTS:
                await write(engine, tenant, round)
            for tenant in TENANTS:
                assert (await engine.reads.recall(tenant, "thing met thing", k=2)).hits
        hashes = {tenant: await state(engine, tenant) for tenant in TENANTS}
        assert engine.thread.runner.loads >= len(TENANTS), "weights came back from the host"
        norms = await engine.thread.call(lambda: [engine.thread.runner.norms(t.key) for t in engine.opened()])
    assert len(set(hashes.values())) == len(TENANTS)
    assert all(np.isfinite(each).all() and any(each) for each in norms)

    async with running(tmp_path / "all", **settings) as engine:
        assert {tenant: await state(engine, tenant) for tenant in TENANTS} == hashes, "as it was saved"
        await write(engine, "t1", 2)
        later = await state(engine, "t1")

    async with running(tmp_path / "alone", **settings) as engine:
        await create(engine, "t1", **made.memory)
        for round in range(2):
            await write(engine, "t1", round)
        assert await state(engine, "t1") == hashes["t1"]
        await write(engine, "t1", 2)
        assert await state(engine, "t1") == later
    assert not [hazard for fake in made.fakes for hazard in fake.hazards]


async def test_it_surprises_as_on_the_cpu(made, tmp_path):
    said = []
    for device in ("cuda", "cpu"):
        async with running(tmp_path / device, memory_device=device, memory_dtype="float32") as engine:
            await create(engine, **made.memory)
            for start in (0, 10):
                written = await engine.write("t", turns(10, start), applied=True)
            said.append([each.mean for each in written.surprise])
    assert said[0] == pytest.approx(said[1], rel=1e-3)
    assert min(said[0]) > 0


def test_where_there_is_no_gpu_the_setting_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(FailedPreconditionError, match="memory_device: PyTorch sees no GPU"):
        Engine(MemoryStore(Data(), lambda: 1), EngineConfig(encoder="kmer", memory_device="cuda"))


def test_arithmetic_is_a_part_of_the_numerics():
    encoder = load_encoder("kmer", threads=1)
    names = {Runner(encoder, 1, device).fingerprint for device in (CpuDevice(), FakeDevice())}
    assert len(names) == 2


@gpu
def test_a_gpus_arithmetic_is_another():
    from memsvc.memory.cuda import CudaDevice

    encoder = load_encoder("kmer", threads=1)
    assert Runner(encoder, 1, CudaDevice()).fingerprint != Runner(encoder, 1, CpuDevice()).fingerprint
