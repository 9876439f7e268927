"""The tenants' context memories: the model of each, and what they are told. Runs on the engine's thread."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from memsvc.backbone.titans_mac.config import PIECE_CHUNKS
from memsvc.backbone.titans_mac.shelf import Shelf
from memsvc.tenant.chunk import Told
from memsvc.tenant.context_stream import ContextStream

if TYPE_CHECKING:
    from memsvc.backbone.titans_mac.stream import Advanced, Stream


class Contexts:
    """Advances the streams of tenants that have a context memory.

    Every method may raise FailedPreconditionError: the model is not here (reason NO_CONTEXT_MODEL).

    Args:
        shelf: has the models.
    """

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    def entry(self, context: ContextStream, text: str) -> list[int]:
        """Return the tokens that an entry is in a context memory."""
        return self._shelf.find(context.model).entry(text)

    def pieces(self, context: ContextStream, tokens: list[int], *, rest: bool) -> Iterator[Told]:
        """Take pieces that `tell` takes off the front of tokens: whole ones, and with `rest` what is left, too."""
        chunk = self._shelf.find(context.model).chunk
        longest = PIECE_CHUNKS * chunk
        while tokens and (rest or len(tokens) >= longest):
            piece = tokens[:longest]
            del tokens[:longest]
            yield Told(context, piece, -(-len(piece) // chunk))

    def tell(self, pieces: Sequence[Told]) -> list["Advanced"]:
        """Advance the streams of some tenants, all of one model, by a piece each; return what became of them."""
        model = self._shelf.find(pieces[0].context.model)
        streams = [piece.context.stream(model) for piece in pieces]
        after = model.advance(streams, [piece.tokens for piece in pieces])
        for piece, advanced in zip(pieces, after, strict=True):
            piece.context.advanced(advanced.stream, model)
        return after

    def stream(self, context: ContextStream) -> "Stream":
        """Return a tenant's stream, to look at or to fork.

        Raises:
            DataLossError: what was saved is no stream of its model.
        """
        return context.stream(self._shelf.find(context.model))

    def stream_bytes(self, model: str) -> int:
        """Return what a stream of a model takes of the memory; 0 without a name. May be asked on any thread."""
        return self._shelf.find(model).stream_bytes if model else 0

    def to_come(self, context: ContextStream | None) -> int:
        """Return what a stream's first chunk will take of the memory; 0 if it has it. May be asked on any thread."""
        return 0 if context is None or context.begun else self.stream_bytes(context.model)
