"""A GPU: weights in its memory, steps by Triton, copies beside them on a stream of their own."""

from collections.abc import Sequence
from importlib.metadata import version

import torch
from memsvc_kernels import backend
from torch import Tensor

from memsvc.memory.device import Copy, Pair


class CudaDevice:
    """The current GPU, which there must be. Steps multiply in float32.

    Raises:
        ValueError: the package `triton` is not installed.
    """

    apart = True

    def __init__(self) -> None:
        self.place = torch.device("cuda", torch.cuda.current_device())
        self.backend = backend(self.place)
        self._copies = torch.cuda.Stream(self.place)  # type: ignore[no-untyped-call]  # PyTorch does not type it

    @property
    def numerics(self) -> str:
        """GPU, its generation, and what compiles its kernels."""
        name, capability = torch.cuda.get_device_name(self.place), torch.cuda.get_device_capability(self.place)
        return f"{name} {capability}, cuda {torch.version.cuda}, triton {version('triton')}"

    def buffer(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """Return pinned memory, of which torch takes a power of two in bytes and keeps what is let go."""
        return torch.empty(*shape, dtype=dtype, pin_memory=True)

    def copy(self, pairs: Sequence[Pair]) -> Copy:
        """Begin to copy, after all that the current stream computes so far.

        Both ends may be let go before it is done: `record_stream` keeps the device's, and torch the host's.
        """
        self._copies.wait_stream(torch.cuda.current_stream(self.place))
        with torch.cuda.stream(self._copies):
            for pair in pairs:
                pair.target.copy_(pair.source, non_blocking=True)
                for tensor in pair:
                    if tensor.is_cuda:
                        tensor.record_stream(self._copies)
            return _Begun(self._copies.record_event(), self.place)


class _Begun:
    def __init__(self, done: torch.cuda.Event, place: torch.device) -> None:
        self._done, self._place = done, place

    def order(self) -> None:
        torch.cuda.current_stream(self._place).wait_event(self._done)

    def finish(self) -> None:
        self._done.synchronize()
