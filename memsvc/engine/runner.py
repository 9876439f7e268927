"""The one module that owns devices: the encoder, the slots' weights, every tensor. Runs on the engine's thread."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from memsvc.backbone.titans_mac.shelf import Shelf
from memsvc.dtypes import choose_dtype
from memsvc.engine.contexts import Contexts
from memsvc.engine.placement import Placement
from memsvc.engine.slots import Lease, SlotState
from memsvc.memory.config import MemoryConfig
from memsvc.memory.device import CpuDevice, Device
from memsvc.memory.state import MemoryStack
from memsvc.memory.step import read, surprise, update
from memsvc.recall.encoder import Encoded, Encoder, Passage, Split
from memsvc.recall.rank import Query
from memsvc.tenant.chunk import Chunk, Floats, Stepped
from memsvc.tenant.view import View

Shape = tuple[int, int, int]

TINY = 2.0**-32
"""Parts of a unit token below this count as 0. MiniLM has two dimensions of 1e-32 or so, whose products with gradients
are subnormal numbers: a step took five times as long for them."""


def prepare_thread(threads: int) -> None:
    """Make the calling thread ready for arithmetic; call it before the thread's first.

    Subnormal numbers count as 0, so that no stream of tokens can slow the others down by making them. A thread's
    helpers inherit this when they are started, which is at its first parallel work.
    """
    torch.set_flush_denormal(True)
    torch.set_num_threads(threads)


class Runner:
    """Encodes, steps and reads. Whose turn it is, is not its business.

    Args:
        encoder: turns text into vectors.
        slots: how many tenants' weights are held ready, for each shape of memory.
        device: where they are, and their arithmetic; the CPU in the type that suits it best unless told otherwise.
        shelf: the models of context memories; those that ship unless told otherwise.
    """

    def __init__(self, encoder: Encoder, slots: int, device: Device | None = None, shelf: Shelf | None = None) -> None:
        self.encoder, self.contexts = encoder, Contexts(shelf or Shelf())
        self._slots, self._device = slots, device or CpuDevice(choose_dtype("auto", "memory_dtype"))
        self._placements: dict[Shape, Placement] = {}
        self._views: dict[str, View] = {}
        self._view_bytes: dict[str, int] = {}
        self._views_total = 0
        self.fingerprint = self._fingerprint()

    def _fingerprint(self) -> str:
        """Name the numerics: equal fingerprints promise equal bits (NUMERICS.md, Determinism)."""
        facts = [
            self.encoder.fingerprint,
            torch.__version__,
            "cpu",
            torch.backends.cpu.get_cpu_capability(),
            str(torch.get_num_threads()),
            f"float32, {self._device.numerics}",
            f"tiny {TINY} flush",
        ]
        return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]

    # --- tenants --------------------------------------------------------------------------------------------------

    def attach(self, uid: str, view: View) -> None:
        """Make a view known, and have charge of its weights from now on."""
        self._views[uid] = view
        self.measure(uid)

    def detach(self, uid: str) -> None:
        """Forget a view and its weights."""
        view = self._views.pop(uid)
        self._views_total -= self._view_bytes.pop(uid)
        if (placement := self._placements.get(_shape(view.config))) is not None:
            placement.remove(uid)

    def check_restored(self, view: View) -> None:
        """Look at the weights and the stream that a view was restored with, which nobody has yet.

        Raises:
            DataLossError: they are damaged, or do not fit it.
            FailedPreconditionError: the model of its context memory is not here.
        """
        if view.weights is not None:
            self._placement(view.config).stack.unpack(view.weights)
        if view.context is not None:
            self.contexts.stream(view.context)

    def weights(self, uid: str) -> bytes | None:
        """Return the tenant's packed weights as they are now, None while nothing was stepped."""
        view = self._views[uid]
        if not view.totals.chunks:
            # It may have a slot all the same: someone asked what a tail surprises.
            return None
        return view.weights or self._placed([uid]).pack(uid)

    def offload(self, uid: str) -> None:
        """Let a tenant's weights leave their slot."""
        if (placement := self._placements.get(_shape(self._views[uid].config))) is not None:
            placement.offload(uid)

    def _placed(self, uids: Sequence[str]) -> Placement:
        """Return what places tenants of one shape, with their weights in its charge.

        Raises:
            DataLossError: the weights that a view was restored with do not fit it.
            RuntimeError: a tenant's weights are gone: it must be folded afresh.
        """
        placement = self._placement(self._views[uids[0]].config)
        for uid in uids:
            view = self._views[uid]
            if view.weights is not None:
                placement.take(uid, view.weights)
                view.weights = None
                self.measure(uid)
            elif view.totals.chunks and uid not in placement:
                raise RuntimeError(f"the weights of tenant {uid} are lost")
        return placement

    def _placement(self, config: MemoryConfig) -> Placement:
        if (placement := self._placements.get(_shape(config))) is None:
            placement = self._placements[_shape(config)] = Placement(config, self._slots, self._device)
        return placement

    @contextmanager
    def _leased(
        self, uids: Sequence[str], ahead: Sequence[str] = ()
    ) -> Iterator[tuple[MemoryStack, list[int], Callable[[], None]]]:
        """Hold slots for tenants of one shape; yields stack, slots, and what to call once the weights changed.

        The weights of those `ahead`, of that shape too, begin to move into what slots are left.
        """
        placement = self._placed([*uids, *ahead])
        leases: list[Lease] = []
        try:
            # One by one: an error in the middle must leave what is pinned so far in the list.
            for uid in uids:
                leases.append(placement.lease(uid))  # noqa: PERF401
            placement.prefetch(ahead)

            def changed() -> None:
                for lease in leases:
                    placement.changed(lease)

            yield placement.stack, [lease.slot for lease in leases], changed
        finally:
            for lease in leases:
                placement.release(lease)

    # --- figures --------------------------------------------------------------------------------------------------

    def measure(self, uid: str) -> None:
        """Take note of what a view takes of the memory, its weights aside: it has grown."""
        view = self._views[uid]
        size = view.nbytes + len(view.weights or b"")
        self._views_total += size - self._view_bytes.get(uid, 0)
        self._view_bytes[uid] = size

    @property
    def hot(self) -> int:
        """Tenants whose weights have a slot. May be asked on any thread."""
        return sum(placement.hot for placement in list(self._placements.values()))

    @property
    def slots(self) -> dict[SlotState, int]:
        """How many slots are in each state, of all shapes in use. May be asked on any thread."""
        counts = dict.fromkeys(SlotState, 0)
        for placement in list(self._placements.values()):
            for state, slots in placement.slots.items():
                counts[state] += slots
        return counts

    @property
    def views_bytes(self) -> int:
        """What all views take of the host's memory, weights aside. May be asked on any thread."""
        return self._views_total

    @property
    def host_bytes(self) -> int:
        """What all views and weights take of the host's memory. May be asked on any thread."""
        return self._views_total + sum(placement.host_bytes for placement in list(self._placements.values()))

    @property
    def move_bytes(self) -> int:
        """The most that one tenant's weights take. May be asked on any thread."""
        return max((placement.stack.slot_bytes for placement in list(self._placements.values())), default=0)

    def bytes_of(self, uid: str) -> int:
        """Return what one view and its weights take of it. May be asked on any thread."""
        weights = sum(placement.bytes_of(uid) for placement in list(self._placements.values()))
        return self._view_bytes.get(uid, 0) + weights

    def is_hot(self, uid: str) -> bool:
        """Whether the tenant's weights are in a slot."""
        return any(placement.is_hot(uid) for placement in self._placements.values())

    @property
    def loads(self) -> int:
        """How often weights were copied into a slot. May be asked on any thread."""
        return sum(placement.loads for placement in list(self._placements.values()))

    @property
    def apart(self) -> bool:
        """Whether weights have a way to go into a slot and out of it."""
        return self._device.apart

    @property
    def width(self) -> int:
        """Tenants that one step may hold."""
        return self._slots

    def shape_of(self, uid: str) -> Shape:
        """Return what tenants must share to be stepped together: layers, width, chunk."""
        config = self._views[uid].config
        return (config.layers, config.width, config.chunk)

    # --- work -----------------------------------------------------------------------------------------------------

    def split(self, texts: Sequence[str]) -> list[Split]:
        """Tokenise."""
        return self.encoder.split(texts)

    def encode(self, passages: Sequence[Passage]) -> list[Encoded]:
        """Encode passages."""
        return self.encoder.encode(passages)

    def step(self, uids: Sequence[str], chunks: Sequence[Chunk], ahead: Sequence[str] = ()) -> list[Stepped]:
        """Step one chunk for each of some tenants of one shape, each tenant once.

        Those `ahead` come next: their weights move into slots while these are stepped.
        """
        views = [self._views[uid] for uid in uids]
        with self._leased(uids, ahead) as (stack, slots, changed):
            tokens = _tokens(np.stack([chunk.tokens for chunk in chunks]))
            for view, slot in zip(views, slots, strict=True):
                if view.momentum_is_stale:
                    stack.momentum[slot].zero_()
                    view.momentum_cleared()
            configs = [view.settings(chunk) for view, chunk in zip(views, chunks, strict=True)]
            # What is replayed was let in once already.
            thresholds = [v.gate.threshold if len(c.owners) else 0.0 for v, c in zip(views, chunks, strict=True)]
            result = update(stack, slots, configs, thresholds, tokens)
            changed()
        surprises, wrote = result.surprise.numpy(), result.wrote.numpy()
        flags = zip(*(column.tolist() for column in result[2:]), strict=True)
        return [Stepped(surprises[row], wrote[row], *flag) for row, flag in enumerate(flags)]

    def tail_surprise(self, uid: str) -> NDArray[np.float32]:
        """Return the surprise [n] of the tokens that wait in the tail: the bits that their step will have."""
        view = self._views[uid]
        if not len(view.tail):
            return np.empty(0, np.float32)
        with self._leased([uid]) as (stack, (slot,), _):
            return surprise(stack, slot, view.config, _tokens(view.tail)).numpy()

    def pooled(self, text: str) -> Floats:
        """Return a query encoded, [d] unit: of a text beyond the encoder's window, the mean of its passages."""
        (split,) = self.split([text])
        pooled: Floats = np.stack([self.encoder.encode_alone(passage).pooled for passage in split.passages]).mean(0)
        pooled /= np.linalg.norm(pooled) or 1.0
        return pooled

    def query(self, uid: str, text: str, pooled: Floats | None = None) -> Query:
        """Return the query as encoded, and as what the tenant's memory does not expect of it, q − M(q).

        `pooled` spares encoding it again. Else the weights move into a slot meanwhile.
        """
        if stepped := self._views[uid].totals.chunks > 0:
            self._placed([uid]).prefetch([uid])
        if pooled is None:
            pooled = self.pooled(text)
        if not stepped:
            return Query(text, pooled, pooled)
        q = torch.from_numpy(pooled)[None]
        with self._leased([uid]) as (stack, (slot,), _):
            residual = F.normalize(q - read(stack, slot, q).cpu(), dim=-1)
        # Weights that are numbers may expect what is none, where a tenant's bounds are wide: then it expects nothing.
        return Query(text, pooled, residual[0].numpy() if residual.isfinite().all() else pooled)

    def norms(self, uid: str) -> tuple[float, ...]:
        """Return the Frobenius norm of what each layer has learnt; empty while nothing was stepped."""
        if self._views[uid].totals.chunks == 0:
            return ()
        with self._leased([uid]) as (stack, (slot,), _):
            return tuple(float(torch.linalg.matrix_norm(delta)) for delta in stack.delta[slot])

    def check_integrity(self) -> None:
        """Assert what must always hold of the slots.

        Raises:
            RuntimeError: it does not.
        """
        for placement in self._placements.values():
            placement.check_integrity()
        if sum(self._view_bytes.values()) != self._views_total or self._view_bytes.keys() != self._views.keys():
            raise RuntimeError("the views' bytes do not add up")


def _tokens(states: NDArray[np.float32]) -> torch.Tensor:
    """Return a copy of unit rows without what is too small to count."""
    return torch.from_numpy(np.where(np.abs(states) < np.float32(TINY), np.float32(0), states))


def _shape(config: MemoryConfig) -> Shape:
    return (config.layers, config.width, config.seed)
