"""Tokens that follow a stream, one after the other."""

from collections.abc import Iterator

import torch
from torch import Tensor

from memsvc.backbone.titans_mac.model import TitansMac
from memsvc.backbone.titans_mac.stream import Stream, advance, following


def generate(
    model: TitansMac, stream: Stream, *, temperature: float = 0.0, top_p: float = 1.0, seed: int | None = None
) -> Iterator[int]:
    """Yield tokens without end; the stream stays as it is.

    Args:
        model: with the gate hard.
        stream: with at least one token. What is generated goes on in a fork of it, whole chunks into the fork's memory.
        temperature: 0 takes the likeliest token.
        top_p: a token is drawn from the likeliest that make up so much.
        seed: of the draws; None draws otherwise each time.
    """
    generator = torch.Generator()
    if seed is None:
        generator.seed()
    else:
        generator.manual_seed(seed)
    while True:
        token = _draw(following(model, [stream])[0].cpu(), temperature, top_p, generator)
        yield token
        (stream,) = advance(model, [stream], [[token]])


def _draw(logits: Tensor, temperature: float, top_p: float, generator: torch.Generator) -> int:
    if temperature == 0:
        return int(logits.argmax())
    odds, tokens = (logits.double() / temperature).softmax(0).sort(descending=True)
    # The first always stays: what comes before it makes up nothing.
    kept = odds * (odds.cumsum(0) - odds < top_p)
    return int(tokens[int(torch.multinomial(kept, 1, generator=generator))])
