"""What a backbone promises: messages and quoted memories in, pieces of text out, and at the end what it came to."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

from memsvc import limits

if TYPE_CHECKING:
    # Other backbones do not import the model.
    from memsvc.backbone.titans_mac.stream import Stream

Role = Literal["system", "user", "assistant"]
Finish = Literal["stop", "length"]


class Message(NamedTuple):
    """One turn of a conversation."""

    role: Role
    text: str


class ContextMemory(NamedTuple):
    """A fork of a tenant's context memory, which is a value: whatever it goes on to, the tenant's stays as it is."""

    model: str
    """Of which it is, `<name>@<hash>`."""
    stream: "Stream"


async def _no_memory() -> None:
    """There is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """What to answer, and how."""

    messages: tuple[Message, ...]
    """At least one; the last is the user's."""
    context: str = ""
    """Memories, fenced as quoted data by `memsvc.engine.context`; empty for none. It is never given as the system's."""
    tenant: str = ""
    """Whose it is, by uid: a backbone may keep what it computed for one tenant, and never shows it to another."""
    memory: Callable[[], Awaitable[ContextMemory | None]] = _no_memory
    """Forks the tenant's context memory, once all that is committed now is in it; gives None where there is none."""
    window: int = limits.MAX_WINDOW_TOKENS
    """Tokens of prompt and answer that the tenant lets a model attend to, where the model can be told."""
    max_tokens: int = 256
    """At most so many are generated."""
    temperature: float = 0.0
    """0 takes the likeliest token."""
    top_p: float = 1.0
    """Tokens are drawn from the likeliest that make up so much."""
    stop: tuple[str, ...] = ()
    """The answer ends before the first of these, which is not part of it."""
    seed: int | None = None
    """The same prompt with the same seed gives the same answer, as far as the backbone can promise that."""


class Piece(NamedTuple):
    """The next part of the answer; never empty."""

    text: str


class Usage(NamedTuple):
    """The end of an answer."""

    finish: Finish
    """Whether it ended by itself or at a stop, or because there were enough tokens."""
    prompt_tokens: int
    cached_tokens: int
    """Of the prompt's, those that were not computed again."""
    completion_tokens: int


class Backbone(Protocol):
    """A language model. Its calls may run at once; each generator is closed when its caller leaves."""

    @property
    def name(self) -> str:
        """What it was configured as, without secrets."""
        ...

    def context_tokens(self, window: int) -> int:
        """Return how many tokens recalled entries may take of a prompt with that window, unless a caller says so."""
        ...

    async def start(self) -> None:
        """Make it ready: load the model, say.

        Raises:
            FailedPreconditionError: it is not here, or does not work.
        """
        ...

    def forget(self, tenant: str) -> None:
        """Let go of whatever is kept of a tenant, by uid, and keep nothing of its calls under way."""
        ...

    async def close(self) -> None:
        """End; generators must have been closed before."""
        ...

    def generate(self, prompt: Prompt) -> AsyncGenerator[Piece | Usage, None]:
        """Yield the pieces of the answer, and `Usage` as the last item.

        Closing the generator before its end stops the model. Raised when the first item is asked for, or later:

        Raises:
            InvalidArgumentError: the prompt is longer than the window that counts (reason PROMPT_TOO_LONG).
            FailedPreconditionError: the model cannot take such messages (no chat template, no such model, a wrong key).
            ResourceExhaustedError: the model's server asks to come again later.
            UnavailableError: its server fails or cuts the answer off (reason BACKBONE_FAILED).
            DeadlineExceededError: its server does not answer in time (reason BACKBONE_TIMEOUT).
        """
        ...
