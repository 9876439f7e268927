"""Compiles the kernels for a GPU that need not be there, and prints what came of them as JSON."""

import json
import sys

import triton
from memsvc_kernels.triton.blocks import Blocks
from memsvc_kernels.triton.kernels import read_kernel, step_kernel
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

LAYERS, WIDTH, CHUNK = 2, 384, 128
TYPES = {
    **dict.fromkeys(["rates", "bounds", "vectors"], "*fp64"),
    **dict.fromkeys(["groups", "rows", "slots"], "*i64"),
    **dict.fromkeys(["wrote", "flags"], "*u8"),
    "count": "i32",
}
SHAPE = {
    **dict.fromkeys(["delta_stride", "momentum_stride"], LAYERS * WIDTH * WIDTH),
    **{"chunk": CHUNK, "block_chunk": CHUNK, "width": WIDTH, "layers": LAYERS},
}


def compiled(kernel, capability: int, blocks: Blocks) -> dict[str, object]:
    shape = {**SHAPE, **{f"block_{name}": getattr(blocks, name) for name in ("tokens", "outputs", "inputs")}}
    source = ASTSource(
        fn=kernel,
        signature={n: "constexpr" if n in shape else TYPES.get(n, "*fp32") for n in kernel.arg_names},
        constexprs={(i,): shape[name] for i, name in enumerate(kernel.arg_names) if name in shape},
        # As torch aligns.
        attrs={(i,): [["tt.divisibility", 16]] for i, n in enumerate(kernel.arg_names) if n not in {*shape, "count"}},
    )
    options = {"num_warps": blocks.warps, "num_stages": blocks.stages}
    done = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
    code = done.asm["ptx"]
    return {
        "shared": done.metadata.shared,
        "binary": len(done.asm["cubin"]),
        "non_coherent_loads": code.count("ld.global.nc"),
        "tf32": code.count("tf32"),
        "barriers": code.count("bar.sync"),
    }


if __name__ == "__main__":
    (capability,) = map(int, sys.argv[1:])
    print(json.dumps({k.__name__: compiled(k, capability, Blocks()) for k in (step_kernel, read_kernel)}))
