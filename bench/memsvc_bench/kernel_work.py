"""What the benchmarks of the memory's kernels give them to do, and how they count it.

FLOPs are counted as the closed form needs them, at L layers of width d and per token: a write (8 L − 2) d² (forward
2 L, backward 2 (L − 1), the sums into Δ and into S 2 L each), which is 14 d² at depth 2; a read 2 L d². What bounds,
norms and activations take is not counted.
"""

import torch
from torch import Tensor
from torch.nn.functional import normalize

TITANS = "titans-pytorch"


def counted_flops(depth: int, width: int) -> dict[str, int]:
    """Return the FLOPs of one token: write, read."""
    return {"write": (8 * depth - 2) * width**2, "read": 2 * depth * width**2}


def draw_tokens(tenants: int, chunk: int, width: int) -> Tensor:
    """Return a chunk of unit vectors for each tenant, [B, b, d]; the same every time."""
    generator = torch.Generator().manual_seed(0)
    return normalize(torch.randn(tenants, chunk, width, generator=generator), dim=-1)
