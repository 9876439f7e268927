"""The weights of many tenants, stacked: one slot each."""

import mmap
import struct
import zlib
from typing import NamedTuple

import numpy as np
import torch
from memsvc_kernels import Backend, Weights
from torch import Tensor

from memsvc.errors import DataLossError
from memsvc.memory.config import MemoryConfig
from memsvc.memory.device import Copy, CpuDevice, Device, Pair

_PAGE = mmap.PAGESIZE
_HEADER = struct.Struct("<4sBBHIqI")
"""Magic, version, type, layers, width, seed, CRC-32 of what follows: Δ, then S, little-endian, C order."""
_MAGIC, _VERSION = b"TMEM", 1
_TYPES: dict[int, torch.dtype] = {1: torch.float32, 2: torch.float64}
_CODES = {dtype: code for code, dtype in _TYPES.items()}


class HostWeights(NamedTuple):
    """One memory's weights in host memory."""

    delta: Tensor
    """[L, d, d]."""
    momentum: Tensor
    """[L, d, d]."""


class MemoryStack:
    """Slots 0 … S−1, each with the Δ and the momentum of one memory. On the CPU unused slots cost no memory.

    Memories that share layers, width and seed fit in one stack; chunk, rates and bounds may differ. One thread uses
    it at a time.

    Args:
        config: layers, width and seed count.
        slots: S.
        dtype: float32, or float64 to compare with the reference.
        device: where the slots live; the CPU unless told otherwise.

    Attributes:
        delta: [S, L, d, d], what was learnt.
        momentum: [S, L, d, d].
        initial: [L, d, d], W0, shared.
        backend: the arithmetic for this device.
    """

    def __init__(
        self,
        config: MemoryConfig,
        slots: int,
        dtype: torch.dtype = torch.float32,
        device: Device | None = None,
    ) -> None:
        self.seed = config.seed
        self._device = device or CpuDevice()
        self.initial = initial_weights(config, dtype).to(self._device.place)
        self._pages = [_Pages(slots, self.initial.shape, dtype, self._device.place) for _ in range(2)]
        self.delta, self.momentum = (pages.tensor for pages in self._pages)
        self.backend: Backend = self._device.backend

    @property
    def weights(self) -> Weights:
        """The state as the kernels take it."""
        return Weights(self.delta, self.momentum, self.initial)

    @property
    def slots(self) -> int:
        """S."""
        return len(self.delta)

    def clear(self, slot: int) -> None:
        """Make a slot the initial memory again, and give its memory back."""
        for pages in self._pages:
            pages.clear(slot)

    @property
    def slot_bytes(self) -> int:
        """What one memory's weights take, in a slot or in host memory."""
        return 2 * self.initial.numel() * self.initial.dtype.itemsize

    # --- between slots and host memory ----------------------------------------------------------------------------

    def save(self, slot: int) -> tuple[HostWeights, Copy]:
        """Begin to copy a slot's weights out; they are whole once the copy is finished."""
        weights = self._buffers()
        return weights, self._device.copy(list(map(Pair, weights, self._of(slot))))

    def restore(self, slot: int, weights: HostWeights) -> Copy:
        """Begin to copy weights into a slot; order what computes with them after the copy."""
        return self._device.copy(list(map(Pair, self._of(slot), weights)))

    def _of(self, slot: int) -> HostWeights:
        return HostWeights(self.delta[slot], self.momentum[slot])

    def _buffers(self) -> HostWeights:
        return HostWeights(*(self._device.buffer(self.initial.shape, self.initial.dtype) for _ in range(2)))

    # --- packed ---------------------------------------------------------------------------------------------------

    def dump(self, slot: int) -> bytes:
        """Return a slot's weights, packed. Equal weights give equal bytes."""
        return self.pack(self._of(slot))

    def load(self, slot: int, data: bytes) -> None:
        """Put packed weights into a slot, bit for bit.

        Raises:
            DataLossError: the bytes are damaged, or of another shape, type or seed. The slot is unchanged.
        """
        self.restore(slot, self.unpack(data)).finish()

    def pack(self, weights: HostWeights) -> bytes:
        """Return weights, packed."""
        layers, width = self.initial.shape[:2]
        parts = [_little_endian(tensor) for tensor in weights]
        crc = zlib.crc32(parts[1], zlib.crc32(parts[0]))
        code = _CODES[self.initial.dtype]
        return b"".join([_HEADER.pack(_MAGIC, _VERSION, code, layers, width, self.seed, crc), *parts])

    def unpack(self, data: bytes) -> HostWeights:
        """Return packed weights in host memory.

        Raises:
            DataLossError: the bytes are damaged, or of another shape, type or seed.
        """
        layers, width = self.initial.shape[:2]
        dtype = self.initial.dtype
        if len(data) < _HEADER.size:
            raise DataLossError("packed weights are cut short")
        magic, version, code, *shape, crc = _HEADER.unpack_from(data)
        if magic != _MAGIC or version != _VERSION:
            raise DataLossError("packed weights have an unknown format")
        if code != _CODES[dtype] or shape != [layers, width, self.seed]:
            raise DataLossError("packed weights belong to a memory of another shape, type or seed")
        if len(data) != _HEADER.size + self.slot_bytes or zlib.crc32(memoryview(data)[_HEADER.size :]) != crc:
            raise DataLossError("packed weights are damaged: the checksum differs")
        kind = np.dtype(f"<f{dtype.itemsize}")
        weights = self._buffers()
        for i, tensor in enumerate(weights):
            values = np.frombuffer(data, kind, tensor.numel(), _HEADER.size + i * tensor.numel() * dtype.itemsize)
            tensor.numpy()[...] = values.reshape(tensor.shape)
        return weights


def initial_weights(config: MemoryConfig, dtype: torch.dtype) -> Tensor:
    """Return W0 [L, d, d]: orthogonal in the first layer, uniform of variance 1 / d inside, zero in the last.

    An orthogonal first layer keeps the angles between tokens. Δ means little under other initial
    weights, so they come from the legacy generator, which is frozen (NumPy NEP 19), and the factorisation is done in
    float64: what a machine's arithmetic adds is far below a float32's last bit.
    """
    layers, width = config.layers, config.width
    uniform = np.random.RandomState(config.seed).random_sample((layers - 1, width, width))
    weights = np.zeros((layers, width, width), np.float32)
    weights[:-1] = (2.0 * uniform - 1.0) * np.sqrt(3.0 / width)
    q, r = np.linalg.qr(2.0 * uniform[0] - 1.0)
    # QR leaves the signs open.
    weights[0] = q * np.sign(np.diag(r))
    return torch.from_numpy(weights).to(dtype)


def _little_endian(tensor: Tensor) -> bytes:
    values = tensor.cpu().numpy()
    return values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()


class _Pages:
    """[S, *shape] of zeros, each slot on pages of its own: alike in alignment, without memory until written."""

    def __init__(self, slots: int, shape: torch.Size, dtype: torch.dtype, device: torch.device) -> None:
        self._stride = -(-shape.numel() * dtype.itemsize // _PAGE) * _PAGE
        self._map: mmap.mmap | None = None
        elements = self._stride // dtype.itemsize
        if device.type == "cpu":
            private = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}
            self._map = mmap.mmap(-1, slots * self._stride, **private)
            flat = torch.frombuffer(self._map, dtype=dtype).view(slots, elements)
        else:
            flat = torch.zeros(slots, elements, dtype=dtype, device=device)
        self.tensor = flat[:, : shape.numel()].view(slots, *shape)

    def clear(self, slot: int) -> None:
        if self._map is not None and hasattr(mmap, "MADV_DONTNEED") and hasattr(mmap, "MAP_PRIVATE"):
            # A private page that is given back reads as zeros.
            self._map.madvise(mmap.MADV_DONTNEED, slot * self._stride, self._stride)
        else:
            self.tensor[slot].zero_()
