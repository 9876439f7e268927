"""Devices by the names that settings have."""

from importlib.util import find_spec
from typing import Literal

import torch

from memsvc.dtypes import Dtype, choose_dtype
from memsvc.errors import FailedPreconditionError
from memsvc.memory.cuda import CudaDevice
from memsvc.memory.device import CpuDevice, Device

DeviceName = Literal["auto", "cpu", "cuda"]


def choose_device(name: DeviceName, dtype: Dtype) -> Device:
    """Return where memories are to be.

    Args:
        name: the setting `memory_device`; `auto` is the GPU where torch sees one and Triton is installed, else the CPU.
        dtype: the setting `memory_dtype`; a GPU multiplies in float32.

    Raises:
        FailedPreconditionError: there is no GPU, no Triton, or the device does not compute the type. Names the setting.
    """
    missing = _missing() if name != "cpu" else None
    if name == "cuda" and missing:
        raise FailedPreconditionError(f"memory_device: {missing}: choose cpu or auto")
    if name == "cpu" or missing:
        return CpuDevice(choose_dtype(dtype, "memory_dtype"))
    if dtype == "bfloat16":
        raise FailedPreconditionError("memory_dtype: steps on a GPU multiply in float32: choose float32 or auto")
    return CudaDevice()


def _missing() -> str | None:
    """Return what keeps memories from a GPU."""
    if not torch.cuda.is_available():
        return "PyTorch sees no GPU"
    return None if find_spec("triton") else "the package triton is not installed (memsvc[gpu])"
