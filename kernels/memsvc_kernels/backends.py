"""Which back end serves which device."""

import torch

from memsvc_kernels.cpu import CpuBackend
from memsvc_kernels.interface import Backend


def backend(device: torch.device | str, products: torch.dtype = torch.float32) -> Backend:
    """Return a back end for a device. It owns scratch memory: one thread uses it at a time.

    Args:
        device: where the weights are.
        products: the type of what a step multiplies: bfloat16, or float32 for the weights' own.

    Raises:
        ValueError: no back end knows the device, its package is not installed, or it has no such products.
    """
    kind = torch.device(device).type
    if kind == "cpu":
        return CpuBackend(products)
    if kind == "cuda":
        if products != torch.float32:
            raise ValueError(f"device {kind} multiplies in the weights' own type, not in {products}")
        return _triton_backend(device)
    raise ValueError(f"no back end for device {kind}: use cpu or cuda")


def _triton_backend(device: torch.device | str) -> Backend:
    # Nobody without a GPU needs the package.
    try:
        from memsvc_kernels.triton import TritonBackend  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ValueError("device cuda needs the package triton: install memsvc[gpu]") from error
    return TritonBackend(device)
