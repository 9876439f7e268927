"""From tokens to the pieces of an answer: whole characters, up to a stop, and no more tokens than were asked for."""

from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from typing import NamedTuple

from memsvc.backbone.base import Finish, Piece, Prompt
from memsvc.backbone.detokenizer import Detokenizer
from memsvc.backbone.stops import Stops


class Spoken(NamedTuple):
    """How an answer ended."""

    finish: Finish
    tokens: int
    """Tokens of it, the one that ended it included."""


def spoken(
    tokens: Iterator[int], decode: Callable[[Sequence[int]], str], prompt: Prompt, ends: Collection[int] = ()
) -> Generator[Piece | None, None, Spoken]:
    """Yield after each token the piece that it completes, None where it completes none; return how it ended.

    Args:
        tokens: as the model gives them, without end; each is computed when it is asked for.
        decode: from token ids to text, without special tokens.
        prompt: what to answer.
        ends: tokens that end an answer, and are no part of it.
    """
    text, stops = Detokenizer(decode), Stops(prompt.stop)
    finish: Finish = "length"
    count = 0
    for token in tokens:
        count += 1
        if token in ends:
            finish = "stop"
            break
        piece = stops.feed(text.push(token))
        if stops.hit or count >= prompt.max_tokens:
            if piece:
                yield Piece(piece)
            break
        yield Piece(piece) if piece else None
    if not stops.hit and (piece := stops.feed(text.finish()) + stops.finish()):
        yield Piece(piece)
    return Spoken("stop" if stops.hit else finish, count)
