"""The back ends that the suite is run on. Triton's runs on a GPU where there is one, else in its interpreter."""

import importlib.util
from typing import NamedTuple

import pytest
import torch
from memsvc_kernels import Backend, Bounds, Rates, StepResult, Weights, backend

from memsvc.memory.config import MemoryConfig
from memsvc.memory.state import initial_weights

INF = torch.inf


class Arithmetic(NamedTuple):
    """A back end beside the device that it computes on, used on weights and tokens in host memory."""

    backend: Backend
    device: str = "cpu"
    thorough: bool = True
    """False where a step takes a thousand times as long as it should."""

    def examples(self, count: int) -> int:
        """Return how many of so many generated examples there is time for."""
        return count if self.thorough else max(1, count // 6)

    def chunk_step(self, weights: Weights, slots, keys, values, **arguments) -> StepResult:
        there = Weights(*(x.to(self.device) for x in weights))
        result = self.backend.chunk_step(there, slots, keys, values, **arguments)
        for ours, theirs in zip(weights, there, strict=True):
            ours.copy_(theirs)
        return result

    def step(self, weights, keys, values, *, theta, eta, alpha, threshold, curvature=INF, radius=INF, clip=INF):
        """Step slot 0; the rates are numbers or [b]."""
        b = len(keys)
        rates = Rates(
            *(torch.as_tensor(x, dtype=torch.float64).expand(b)[None] for x in (theta, eta, alpha, threshold))
        )
        bounds = Bounds(*(torch.tensor([x], dtype=torch.float64) for x in (curvature, radius, clip)))
        return self.chunk_step(weights, [0], keys[None], values[None], rates=rates, bounds=bounds)

    def surprise(self, weights: Weights, slot, keys, values):
        return self.backend.surprise(Weights(*(x.to(self.device) for x in weights)), slot, keys, values).cpu()

    def read(self, weights: Weights, slots, x):
        return self.backend.read(Weights(*(w.to(self.device) for w in weights)), slots, x.to(self.device)).cpu()


def triton_arithmetic(*blocks: int) -> Arithmetic:
    """Return Triton's back end with tiles of the test's choice: tokens, outputs, inputs."""
    from memsvc_kernels.triton import TritonBackend
    from memsvc_kernels.triton.blocks import Blocks

    device = "cuda" if torch.cuda.is_available() else "cpu"
    return Arithmetic(TritonBackend(device, blocks=Blocks(*blocks)), device, thorough=device == "cuda")


HAS_TRITON = importlib.util.find_spec("triton") is not None
needs_triton = pytest.mark.skipif(
    not HAS_TRITON, reason="the package triton is not installed (pip install memsvc[gpu])"
)

CPU = Arithmetic(backend("cpu"))
ROUNDED = Arithmetic(backend("cpu", torch.bfloat16))
"""The CPU with products of rounded numbers."""
BACKENDS = {"cpu": CPU} | ({"triton": triton_arithmetic(16, 16, 16)} if HAS_TRITON else {"triton": CPU})


def backends(**depths):
    """Return parameters arithmetic, layers: every depth of each back end."""
    return [
        pytest.param(BACKENDS[name], layers, id=f"{name}-{layers}", marks=[needs_triton] if name == "triton" else [])
        for name, of in depths.items()
        for layers in of
    ]


_EACH = [
    pytest.param(arithmetic, id=name, marks=[needs_triton] if name == "triton" else [])
    for name, arithmetic in BACKENDS.items()
]
each = pytest.mark.parametrize("arithmetic", _EACH)
each_and_rounded = pytest.mark.parametrize("arithmetic", [*_EACH, pytest.param(ROUNDED, id="cpu-bfloat16")])


def draw_weights(layers, width, seed, *, slots=1, scale=0.3):
    generator = torch.Generator().manual_seed(seed)
    shape = (slots, layers, width, width)
    delta, momentum = (scale * torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(2))
    initial = initial_weights(MemoryConfig(layers=layers, width=width), torch.float64)
    return Weights(delta, momentum, initial), generator
