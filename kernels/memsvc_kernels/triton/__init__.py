"""The back end for GPUs, in Triton. Importing it needs the package `triton`."""

from memsvc_kernels.triton.backend import TritonBackend

__all__ = ["TritonBackend"]
