"""Which back end serves which device."""

import torch

from memsvc_kernels.cpu import CpuBackend
from memsvc_kernels.interface import Backend


def backend(device: torch.device | str) -> Backend:
    """Return a back end for a device. It owns scratch memory: one thread uses it at a time.

    Raises:
        ValueError: no back end knows the device.
    """
    kind = torch.device(device).type
    if kind == "cpu":
        return CpuBackend()
    raise ValueError(f"no back end for device {kind}: use cpu")
