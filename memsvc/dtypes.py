"""The types of numbers that are computed with, by the names that settings have."""

from typing import Literal

import torch

from memsvc.errors import FailedPreconditionError

Dtype = Literal["auto", "float32", "bfloat16"]


def choose_dtype(name: Dtype, who: str, device: torch.device | None = None) -> torch.dtype:
    """Return a type by its name; `auto` is bfloat16 where the device computes it, else float32.

    Args:
        name: as in the settings.
        who: asks, for the error.
        device: that computes; the processor unless told otherwise.

    Raises:
        FailedPreconditionError: the device has no instructions for it. A processor without them takes seven times as
            long as for float32.
    """
    if device is not None and device.type == "cuda":
        supported = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        # AMX comes with them.
        supported = torch.cpu._is_avx512_bf16_supported()
    if name == "bfloat16" and not supported:
        raise FailedPreconditionError(f"{who}: this device does not compute bfloat16: choose float32 or auto")
    return torch.bfloat16 if supported and name != "float32" else torch.float32
