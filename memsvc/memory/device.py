"""Where slots live, and how weights get there and back while the device computes.

Every copy is asked for on the thread that computes. Copies are carried out in the order in which they were begun, each
after all that was computed before it was begun. What is computed afterwards may overtake it, unless `order` says that
it must not; and the host may not look at the target before `finish`.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from memsvc_kernels import Backend, backend
from torch import Tensor


class Pair(NamedTuple):
    """What a copy fills, and from what. Both are left alone until it is done."""

    target: Tensor
    source: Tensor


class Copy(Protocol):
    """A copy that was begun."""

    def order(self) -> None:
        """Make all that is computed from now on come after it."""
        ...

    def finish(self) -> None:
        """Return once it is done."""
        ...


class Device(Protocol):
    """One device's memory, and the way between it and the host's."""

    @property
    def place(self) -> torch.device:
        """Where its tensors are."""
        ...

    @property
    def apart(self) -> bool:
        """Whether its memory is not the host's."""
        ...

    @property
    def numerics(self) -> str:
        """What the bits of its results depend on: a part of the numerics' fingerprint."""
        ...

    @property
    def backend(self) -> Backend:
        """Its arithmetic."""
        ...

    def buffer(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """Return host memory that copies go to and from without holding the device up; its content is anything."""
        ...

    def copy(self, pairs: Sequence[Pair]) -> Copy:
        """Begin to copy, in one go."""
        ...


class CpuDevice:
    """The host itself: a copy is done as soon as it is begun.

    Args:
        products: the type of what steps multiply.
    """

    apart = False

    def __init__(self, products: torch.dtype = torch.float32) -> None:
        self.place, self.numerics = torch.device("cpu"), f"products {products}"
        self.backend = backend(self.place, products)

    def buffer(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """Return ordinary memory."""
        return torch.empty(*shape, dtype=dtype)

    def copy(self, pairs: Sequence[Pair]) -> Copy:
        """Copy."""
        for pair in pairs:
            pair.target.copy_(pair.source)
        return _DONE


class _Done:
    def order(self) -> None:
        pass

    def finish(self) -> None:
        pass


_DONE = _Done()
