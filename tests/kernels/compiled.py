"""Compiles the kernels for a GPU that need not be there, and prints what came of them as JSON."""

import json
import sys

import torch
import triton
from memsvc_kernels.triton.apply import apply_kernel, project_kernel
from memsvc_kernels.triton.backend import TRITON_TYPES, precision
from memsvc_kernels.triton.blocks import Blocks
from memsvc_kernels.triton.fold import fold_kernel
from memsvc_kernels.triton.norms import gram_kernel
from memsvc_kernels.triton.passes import UNSPECIALISED, backward_kernel, error_kernel, forward_kernel
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

CHUNK = 64
KERNELS = (
    *(forward_kernel, error_kernel, backward_kernel, gram_kernel),
    *(fold_kernel, apply_kernel, project_kernel),
)
DOUBLES = {"plan", "norms", "gram", "folded", "squares", "results"}
WITH_OPTIONS = {"forward_kernel", "error_kernel", "backward_kernel", "gram_kernel", "apply_kernel"}
SPECIALISED = {"delta_stride", "momentum_stride", "width"}
NUMBERS = {*UNSPECIALISED, *SPECIALISED, "tiles"}


def compiled(kernel, capability: int, blocks: Blocks, dtype: torch.dtype) -> dict[str, object]:
    constant = {
        **{f"block_{name}": getattr(blocks, name) for name in ("tokens", "outputs", "inputs")},
        **{"block_chunk": CHUNK, "precision": precision(dtype), "dtype": TRITON_TYPES[dtype]},
    }
    if kernel is fold_kernel:
        constant["block_tokens"] = 16
    name_of_type = {torch.float32: "*fp32", torch.float64: "*fp64"}[dtype]

    def kind(name: str) -> str:
        if name in constant:
            return "constexpr"
        return "i32" if name in NUMBERS else "*fp64" if name in DOUBLES else name_of_type

    names = kernel.arg_names
    source = ASTSource(
        fn=kernel,
        signature={name: kind(name) for name in names},
        constexprs={(i,): constant[name] for i, name in enumerate(names) if name in constant},
        # As torch aligns, for a width that 16 divides.
        attrs={
            (i,): [["tt.divisibility", 16]]
            for i, name in enumerate(names)
            if name not in constant and (name not in NUMBERS or name in SPECIALISED)
        },
    )
    options = {"num_warps": blocks.warps, "num_stages": blocks.stages}
    done = triton.compile(
        source, target=GPUTarget("cuda", capability, 32), options=options if kernel.__name__ in WITH_OPTIONS else {}
    )
    code = done.asm["ptx"]
    products = [line for line in done.asm["ttir"].splitlines() if "tt.dot " in line]
    return {
        "shared": done.metadata.shared,
        "binary": len(done.asm["cubin"]),
        "products": len(products),
        "in_three": sum("inputPrecision = tf32x3" in line for line in products),
        "tf32_instructions": code.count("tf32"),
    }


if __name__ == "__main__":
    blocks = Blocks(*map(int, sys.argv[2:]))
    print(
        json.dumps(
            {
                f"{kernel.__name__} {str(dtype).removeprefix('torch.')}": compiled(
                    kernel, int(sys.argv[1]), blocks, dtype
                )
                for dtype in (torch.float32, torch.float64)
                for kernel in KERNELS
            }
        )
    )
