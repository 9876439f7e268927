"""What only Triton's back end has: tiles, a table of them, and a compiler."""

import json
import os
import subprocess
import sys
from importlib.resources import files

import pytest
import torch
from memsvc_kernels import Bounds, Rates, Weights

from tests.kernels.arithmetic import CPU, draw_weights, needs_triton, triton_arithmetic

pytestmark = needs_triton

F32, F64 = torch.float32, torch.float64
SMALL, LARGE = (16, 64, 32), (16, 256, 256)
"""Tiles. The interpreter takes about as long for a tile whatever its size, and wide memories have many small ones."""
SHAPES = [
    *[(2, 128, 33, F64, SMALL), (12, 128, 4, F64, SMALL), (3, 200, 20, F64, SMALL), (3, 200, 40, F32, SMALL)],
    *[(2, 512, 20, F64, LARGE), (2, 1024, 17, F64, LARGE), (2, 1000, 4, F32, LARGE)],
]


def steps(arithmetic, weights, keys, *, curvature, radius, clip):
    """Step two chunks of a slot and one of another."""
    b = keys.shape[1]
    rates = Rates(*(torch.full((3, b), x, dtype=torch.float64) for x in (0.1, 0.9, 0.01, 0.0)))
    rates.threshold[:, ::3] = torch.inf
    bounds = Bounds(*(torch.full((3,), x, dtype=torch.float64) for x in (curvature, radius, clip)))
    return arithmetic.chunk_step(weights, [1, 0, 1], keys, keys, rates=rates, bounds=bounds, counts=[b, b - 1, b])


@pytest.mark.parametrize(("layers", "width", "tokens", "dtype", "tiles"), SHAPES)
def test_equals_the_cpu_with_many_tiles_whether_or_not_they_divide_the_shape(layers, width, tokens, dtype, tiles):
    triton = triton_arithmetic(*tiles)
    theirs, generator = draw_weights(layers, width, 6, slots=2, scale=0.3 / width**0.5)
    theirs = Weights(*(x.to(dtype) for x in theirs))
    ours = Weights(*(x.clone() for x in theirs))
    keys = torch.nn.functional.normalize(torch.randn(3, tokens, width, generator=generator), dim=2).to(dtype)
    bounds = {"curvature": 0.01, "radius": 3.0, "clip": 0.05}
    expected = steps(CPU, theirs, keys, **bounds)
    result = steps(triton, ours, keys, **bounds)
    close = {"rtol": 0, "atol": 1e-12 if dtype == F64 else 2e-6}
    for one, other in zip(ours[:2], theirs[:2], strict=True):
        torch.testing.assert_close(one, other, **close)
    torch.testing.assert_close(result.surprise[0], expected.surprise[0], **close)
    assert all(one.equal(other) for one, other in zip(result[1:], expected[1:], strict=True))
    assert expected.bounded.any()
    x = keys[:1, :17]
    torch.testing.assert_close(triton.read(ours, [1], x), CPU.read(theirs, [1], x), **close)


def test_rows_that_there_is_no_room_for_come_later_with_the_same_bits(monkeypatch):
    ends = []
    for room in (1 << 30, 1):
        monkeypatch.setattr("memsvc_kernels.triton.backend.SCRATCH_BYTES", room)
        triton = triton_arithmetic(16, 16, 16)
        weights, generator = draw_weights(2, 7, 3, slots=2)
        keys = torch.randn(3, 5, 7, generator=generator, dtype=F64)
        result = steps(triton, weights, keys, curvature=0.1, radius=1.0, clip=0.1)
        ends.append([*weights, *result, triton.read(weights, [1, None, 0], keys)])
    assert all(one.equal(other) for one, other in zip(*ends, strict=True))


def test_every_shape_has_tiles_that_triton_takes():
    from memsvc_kernels.triton.blocks import TABLE, Blocks, lookup

    table = json.loads((files("memsvc_kernels.triton") / TABLE).read_text())
    shapes = [Blocks(*blocks) for shapes in table.values() for blocks in shapes.values()]
    for blocks in [*shapes, lookup("a device that nobody tuned for", 2, 384)]:
        assert all(x & (x - 1) == 0 for x in blocks[:4])
        assert min(blocks[:3]) >= 16
        assert blocks.stages >= 1


def test_weights_in_host_memory_need_the_interpreter(monkeypatch):
    from memsvc_kernels.triton import TritonBackend

    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with pytest.raises(ValueError, match="TRITON_INTERPRET=1"):
        TritonBackend("cpu")


def test_compiles_for_a_gpu_that_is_not_there(tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    run = subprocess.run(
        [sys.executable, "-m", "tests.kernels.compiled", "90"],
        env=environment | {"TRITON_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    kernels = json.loads(run.stdout)
    products = {"forward": 1, "error": 1, "backward": 1, "gram": 2, "fold": 0, "apply": 2, "project": 0}
    assert set(kernels) == {f"{name}_kernel {dtype}" for name in products for dtype in ("float32", "float64")}
    for name, kernel in kernels.items():
        assert kernel["binary"] > 0
        # The least that a GPU of compute capability 8 or 9 gives to one program.
        assert kernel["shared"] <= 99 * 1024
        # Products of float32 are of two TF32 numbers each, three times; of float64, IEEE's.
        assert kernel["products"] == products[name.partition("_")[0]]
        assert kernel["in_three"] == (kernel["products"] if name.endswith("float32") else 0)
        assert (kernel["tf32_instructions"] > 0) == (kernel["in_three"] > 0)
