"""The arithmetic of the memory over slot-indexed weights: one interface, one back end per kind of device."""

from memsvc_kernels.backends import backend
from memsvc_kernels.interface import Backend, Bounds, Rates, StepResult, Weights

__all__ = ["Backend", "Bounds", "Rates", "StepResult", "Weights", "backend"]
