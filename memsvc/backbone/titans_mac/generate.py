"""What follows a stream: tokens, one after the other, and an answer made of them."""

from collections.abc import Iterator

from memsvc.backbone.base import Piece, Prompt, Usage
from memsvc.backbone.sample import Sampler
from memsvc.backbone.spoken import spoken
from memsvc.backbone.titans_mac.config import PIECE_CHUNKS
from memsvc.backbone.titans_mac.context_model import ContextModel
from memsvc.backbone.titans_mac.model import TitansMac
from memsvc.backbone.titans_mac.stream import Stream, advance, following
from memsvc.errors import InvalidArgumentError

PROMPT_TOKENS = 4096
"""The longest prompt, what is recalled included: 64 chunks of the default size."""


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
    sample = Sampler(temperature, top_p, seed)
    while True:
        yield (token := sample(following(model, [stream])[0]))
        stream = advance(model, [stream], [[token]])[0].stream


def answer(model: ContextModel, stream: Stream, prompt: Prompt) -> Iterator[Piece | Usage | None]:
    """Yield after each step, a piece of the prompt or a token, what it gave; `Usage` last. The stream stays as it is.

    The model goes on with the last message as it would with any text: what came before it is in the stream.

    Args:
        model: whose stream it is.
        stream: a tenant's.
        prompt: the last message, after what is recalled for it.

    Raises:
        InvalidArgumentError: the prompt is too long (reason PROMPT_TOO_LONG).
        ValueError: the model is broken.
    """
    text = "\n".join(filter(None, [prompt.context, prompt.messages[-1].text]))
    # What is far too long is not even counted: the others' answers would wait for that.
    tokens = model.tokens(text[: PROMPT_TOKENS * model.longest + 1])
    if len(tokens) > PROMPT_TOKENS:
        raise InvalidArgumentError(
            "prompt", f"has more than the {PROMPT_TOKENS} tokens that are accepted", reason="PROMPT_TOO_LONG"
        )
    piece = PIECE_CHUNKS * model.chunk
    for at in range(0, len(tokens), piece):
        stream = model.advance([stream], [tokens[at : at + piece]])[0].stream
        yield None
    if not stream.tail:
        raise InvalidArgumentError("prompt", "has no token that the model knows, and nothing was told before it")
    tokens_after = generate(model.model, stream, temperature=prompt.temperature, top_p=prompt.top_p, seed=prompt.seed)
    finish, count = yield from spoken(tokens_after, model.text, prompt)
    yield Usage(finish, len(tokens), 0, count)
