"""Which device a setting means, and what is said where there is none."""

import pytest
import torch

from memsvc.errors import FailedPreconditionError
from memsvc.memory import devices
from memsvc.memory.device import CpuDevice
from memsvc.memory.devices import choose_device


@pytest.fixture
def gpu(monkeypatch):
    """A machine that has one, as far as the setting can tell."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(devices, "CudaDevice", lambda: "a GPU")
    monkeypatch.setattr(devices, "find_spec", lambda name: name)


@pytest.fixture
def no_triton(gpu, monkeypatch):
    monkeypatch.setattr(devices, "find_spec", lambda name: None)


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.mark.usefixtures("gpu")
def test_a_gpu_is_taken_where_it_is_asked_for():
    assert choose_device("cuda", "auto") == choose_device("auto", "float32") == "a GPU"
    assert isinstance(choose_device("cpu", "float32"), CpuDevice)


@pytest.mark.usefixtures("gpu")
def test_a_gpu_does_not_multiply_in_bfloat16():
    with pytest.raises(FailedPreconditionError, match="memory_dtype: steps on a GPU multiply in float32"):
        choose_device("cuda", "bfloat16")


@pytest.mark.usefixtures("no_gpu")
def test_without_a_gpu_auto_is_the_cpu_and_cuda_is_refused():
    assert isinstance(choose_device("auto", "float32"), CpuDevice)
    with pytest.raises(FailedPreconditionError, match="memory_device: PyTorch sees no GPU"):
        choose_device("cuda", "auto")


@pytest.mark.usefixtures("no_triton")
def test_without_triton_auto_is_the_cpu_and_cuda_is_refused():
    assert isinstance(choose_device("auto", "float32"), CpuDevice)
    with pytest.raises(FailedPreconditionError, match="memory_device: the package triton is not installed"):
        choose_device("cuda", "auto")
