"""A tenant's stream: whole chunks in the model's state, and the tokens that wait for theirs to be whole.

Chunk i is tokens i b … i b + b − 1 of the stream, however they arrive. A full chunk waits for the token after it, so
that what follows the last token can always be computed from the tail. Streams are values: advancing gives new ones, and
a fork is the same object.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from memsvc.backbone.titans_mac.config import MacConfig
from memsvc.backbone.titans_mac.model import TitansMac
from memsvc.backbone.titans_mac.state import StreamState, row, shapes, stack
from memsvc.errors import DataLossError

_TAIL = "tail"
_CALL_CHUNKS = 16
"""Chunks of a stream in one call of the model, at most: of eight together each takes a third of the time of one."""


@dataclass(frozen=True, slots=True)
class Stream:
    """One tenant's stream."""

    state: StreamState
    """Of one row, after all chunks but the last."""
    tail: tuple[int, ...] = ()
    """The tokens since, at most a chunk."""

    @property
    def tokens(self) -> int:
        """How many there were."""
        return int(self.state.chunks) * self.state.blocks[0].keys.shape[2] + len(self.tail)


class Advanced(NamedTuple):
    """What became of a stream."""

    stream: Stream
    tokens: int
    """Of the chunks that became whole."""
    wrote: int
    """Those of them that the memory's gate let write."""


def start(model: TitansMac) -> Stream:
    """Return the stream before its first token."""
    return Stream(model.initial(1))


@torch.no_grad()
def advance(model: TitansMac, streams: Sequence[Stream], tokens: Sequence[Sequence[int]]) -> list[Advanced]:
    """Return each stream after its tokens. What becomes of one does not depend on the others, to the bit.

    Args:
        model: with the gate hard.
        streams: of any lengths.
        tokens: of each.
    """
    b = model.config.chunk
    waiting = [[*stream.tail, *new] for stream, new in zip(streams, tokens, strict=True)]
    states = [stream.state for stream in streams]
    passed, wrote = [0] * len(streams), [0] * len(streams)
    while ready := [i for i, tail in enumerate(waiting) if len(tail) > b]:
        # As many of each: how many chunks or streams are in a call does not show in any, to the bit.
        length = b * min(_CALL_CHUNKS, *((len(waiting[i]) - 1) // b for i in ready))
        chunks = torch.tensor([waiting[i][:length] for i in ready], device=model.embedding.weight.device)
        after = model.stream(chunks, stack([states[i] for i in ready], model.config), hidden=False)
        for at, (i, written) in enumerate(zip(ready, after.write.sum(1).tolist(), strict=True)):
            states[i] = row(after.state, at, model.config)
            passed[i] += length
            wrote[i] += round(written)
            del waiting[i][:length]
    streamed = (Stream(state, tuple(tail)) for state, tail in zip(states, waiting, strict=True))
    return [Advanced(*each) for each in zip(streamed, passed, wrote, strict=True)]


@torch.no_grad()
def following(model: TitansMac, streams: Sequence[Stream]) -> Tensor:
    """Return the logits of what follows the last token of each stream, [B, vocabulary]; the streams stay as they are.

    Raises:
        ValueError: a stream has no token yet.
    """
    b = model.config.chunk
    if not all(stream.tail for stream in streams):
        raise ValueError("nothing follows a stream without tokens")
    # Filled up with anything: a token sees none after it.
    padded = [[*stream.tail, *[0] * (b - len(stream.tail))] for stream in streams]
    chunk = torch.tensor(padded, device=model.embedding.weight.device)
    hidden = model.stream(chunk, stack([stream.state for stream in streams], model.config), learning=False).hidden
    last = torch.tensor([len(stream.tail) - 1 for stream in streams], device=hidden.device)
    # All of the chunk, not the one row: bits depend on shapes.
    return model.logits(hidden)[torch.arange(len(streams), device=hidden.device), last]


def pack(stream: Stream, config: MacConfig) -> bytes:
    """Return a stream, packed as safetensors. Equal streams give equal bytes; a checksum is for who stores them."""
    named = dict(zip(shapes(config), stream.state.tensors(), strict=True))
    named[_TAIL] = torch.tensor(stream.tail, dtype=torch.int64)
    return save({name: tensor.cpu().contiguous() for name, tensor in named.items()})


def unpack(data: bytes, model: TitansMac) -> Stream:
    """Return a packed stream, bit for bit.

    Raises:
        DataLossError: the bytes are no stream of a model of this configuration.
    """
    try:
        tensors = load(data)
    except SafetensorError as error:
        raise DataLossError(f"a packed stream is damaged: {error}") from error
    fresh = dict(zip(shapes(model.config), model.initial(1).tensors(), strict=True))
    tail = tensors.pop(_TAIL, None)
    fits = tensors.keys() == fresh.keys() and all(
        (tensors[name].shape, tensors[name].dtype) == (zero.shape, zero.dtype) for name, zero in fresh.items()
    )
    if not fits or tail is None or tail.dtype != torch.int64 or tail.dim() != 1 or len(tail) > model.config.chunk:
        raise DataLossError("a packed stream belongs to a model of another configuration")
    device = model.embedding.weight.device
    return Stream(
        StreamState.of((tensors[name].to(device) for name in fresh), model.config), tuple(map(int, tail.tolist()))
    )
