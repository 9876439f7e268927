"""One tenant's stream into a context memory: a part of its view, and like all of it a function of the log alone.

The text of each entry that the recall memory learns from goes in, in the log's order, with a line's end after it.
"""

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    # Whoever has no such tenant does not import the model.
    from memsvc.backbone.titans_mac.context_model import ContextModel
    from memsvc.backbone.titans_mac.stream import Stream


class _Unpacked(NamedTuple):
    stream: "Stream"
    model: "ContextModel"


class ContextStream:
    """A stream, as it was saved until someone who has its model needs it.

    Args:
        model: what it is a stream of, `<name>@<hash>`.
        packed: what `pack` gave; empty before the first token.
    """

    def __init__(self, model: str, packed: bytes = b"") -> None:
        self.model = model
        self._packed = packed
        self._unpacked: _Unpacked | None = None

    @property
    def begun(self) -> bool:
        """Whether its state takes memory of its own: a chunk went in, or it was restored."""
        return self.nbytes > 0

    @property
    def nbytes(self) -> int:
        """About how many bytes of memory are held."""
        unpacked = self._unpacked
        return len(self._packed) if unpacked is None else unpacked.model.bytes_of(unpacked.stream)

    def stream(self, model: "ContextModel") -> "Stream":
        """Return the stream, which is a value: a fork of it is the same object.

        Raises:
            DataLossError: what was saved is no stream of this model.
        """
        if self._unpacked is None:
            self._unpacked = _Unpacked(model.unpack(self._packed) if self._packed else model.start(), model)
            self._packed = b""
        return self._unpacked.stream

    def advanced(self, stream: "Stream", model: "ContextModel") -> None:
        """Take note of what has become of the stream."""
        self._unpacked = _Unpacked(stream, model)

    def pack(self) -> bytes:
        """Return the stream as bytes: the same for equal streams, and none before the first token."""
        if self._unpacked is None:
            return self._packed
        stream, model = self._unpacked
        return model.pack(stream) if stream.tokens else b""
