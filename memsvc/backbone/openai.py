"""A model behind any server that speaks OpenAI's /chat/completions."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from functools import partial

from pydantic import SecretStr

from memsvc.backbone.base import Piece, Prompt, Usage
from memsvc.backbone.load import BackboneConfig
from memsvc.backbone.stops import Stops
from memsvc.errors import DeadlineExceededError, FailedPreconditionError, MemsvcError, ResourceExhaustedError

try:
    from memsvc.backbone.openai_answer import Answer
    from memsvc.backbone.openai_errors import FAILURES, TIMEOUT, Failure, excerpt, failure
    from memsvc.backbone.openai_http import ModelServer
    from memsvc.backbone.openai_request import make_request
    from memsvc.backbone.openai_retries import Retries
except ModuleNotFoundError as error:
    raise FailedPreconditionError(
        "an OpenAI-compatible server needs its client: pip install 'memsvc[openai]'", reason="EXTRA_MISSING"
    ) from error

CONTEXT_TOKENS = 2048
"""Of a prompt that recalled entries may take: a part of the window of every model that is made to chat."""
BYTES_A_TOKEN, SPARE_BYTES = 64, 1024
"""An answer's text has at most so many a token, and some to spare: tokens of blanks are long."""
USAGE_S = 1.0
"""For the usage to come, when the text is there."""
BUSY_RETRY_S = 1.0
MAX_LISTED = 20


class OpenAIBackbone:
    """Streams answers from an OpenAI-compatible server.

    Args:
        config: `openai:<base url>`, what `/chat/completions` follows there, the model and the key. Nothing is shown
            where the key is empty, whatever the environment holds. The time for the first token is for all attempts.
        connect_timeout_s: for a connection to be made.
        retries: further attempts when one fails before its first token; none is made after it.
        concurrency: answers at once; who comes then waits.

    Raises:
        InvalidArgumentError: the URL or the key cannot be one; names the field, and repeats neither.
    """

    def __init__(
        self,
        config: BackboneConfig,
        *,
        connect_timeout_s: float = 10.0,
        retries: int = 2,
        concurrency: int = 64,
    ) -> None:
        self._name, self._model = config.name, config.model
        self._key = SecretStr(config.api_key)
        base_url = config.name.partition(":")[2]
        self._server = ModelServer(base_url, self._key, connect_timeout_s=connect_timeout_s, keep=concurrency)
        self._tokens_field = config.tokens_field
        self._context_tokens = config.context_tokens or CONTEXT_TOKENS
        self._first_s, self._idle_s = config.first_timeout_s, config.idle_timeout_s
        self._retries = Retries(retries, within_s=config.first_timeout_s, failure=self._failure)
        self._places = asyncio.Semaphore(concurrency)

    @property
    def name(self) -> str:
        """`openai:<base url>`."""
        return self._name

    def context_tokens(self, window: int) -> int:
        """See `Backbone`. The window is the server's matter."""
        return self._context_tokens

    async def start(self) -> None:
        """Ask the server for its model, where none was named; otherwise it need not be up yet.

        Raises:
            FailedPreconditionError: it does not answer, or has not one model but several, or none.
        """
        if self._model:
            return
        try:
            models = await self._retries(self._server.models)
        except MemsvcError as error:
            raise FailedPreconditionError(
                f"{self.name} was asked for its models, as none is set, and does not say: {error}",
                reason="BACKBONE_FAILED",
            ) from None
        if len(models) != 1:
            raise FailedPreconditionError(
                f"{self.name} has {len(models)} models; set one of them: {_listed(models)}", reason="BACKBONE_MODEL"
            )
        self._model = models[0]

    async def close(self) -> None:
        """Let the connections go."""
        await self._server.close()

    def forget(self, tenant: str) -> None:
        """Do nothing: nothing is kept of anyone here. What the server keeps is its operator's matter."""

    async def generate(self, prompt: Prompt) -> AsyncGenerator[Piece | Usage, None]:
        """Yield the pieces of the answer, and `Usage` as the last item; see `Backbone.generate`.

        Closing the generator closes the connection that the answer comes over.
        """
        stops = Stops(prompt.stop)
        request = make_request(prompt, self._model, self._tokens_field)
        async with self._place():
            first, answer = await self._retries(partial(self._begin, request, prompt.max_tokens))
            async with aclosing(answer):
                part = first
                while part is not None:
                    if text := stops.feed(part):
                        yield Piece(text)
                    if stops.hit:
                        break
                    part = await self._go_on(answer)
                else:
                    if text := stops.finish():
                        yield Piece(text)
                    await answer.finish(min(USAGE_S, self._idle_s))
        yield answer.usage("stop" if stops.hit else answer.finished or "stop")

    async def _begin(self, request: dict[str, object], max_tokens: int) -> tuple[str | None, Answer]:
        """Ask for an answer, and wait for its first token."""
        answer = Answer(await self._server.ask(request), max_bytes=max_tokens * BYTES_A_TOKEN + SPARE_BYTES)
        try:
            return await answer.next(), answer
        except BaseException:  # a cancellation too: the server shall not go on for nobody
            await answer.aclose()
            raise

    async def _go_on(self, answer: Answer) -> str | None:
        try:
            async with asyncio.timeout(self._idle_s):
                return await answer.next()
        except TimeoutError:
            raise DeadlineExceededError(
                f"the model's server sent nothing more for {self._idle_s:g} s", reason=TIMEOUT
            ) from None
        except FAILURES as error:
            raise self._failure(error).error from None

    def _failure(self, error: Exception) -> Failure:
        return failure(error, self._key)

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        """Hold one of the places, which waits for it no longer than for a first token."""
        try:
            async with asyncio.timeout(self._first_s):
                await self._places.acquire()
        except TimeoutError:
            raise ResourceExhaustedError(
                "too many answers are being generated", retry_after=BUSY_RETRY_S, reason="BACKBONE_BUSY"
            ) from None
        try:
            yield
        finally:
            self._places.release()


def _listed(names: list[str]) -> str:
    """Return the names as a message can have them."""
    shown = ", ".join(excerpt(name) for name in names[:MAX_LISTED])
    return f"{shown}, …" if len(names) > MAX_LISTED else shown
