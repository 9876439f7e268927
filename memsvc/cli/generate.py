"""`memsvc generate` and `memsvc chat`: answers of the server's language model, from a tenant's memory."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any

import typer
from memsvc_client import Message, Recall, Token, Usage
from rich.text import Text

from memsvc.cli.connection import connect
from memsvc.cli.options import AsJson, MinSeq, TenantId
from memsvc.cli.output import clean, plain, print_json, results, show, stderr, stdin, stdout
from memsvc.cli.recall import as_object
from memsvc.cli.target import Server, connects
from memsvc.limits import MAX_GENERATE_K, MAX_GENERATED_TOKENS, MAX_TEMPERATURE

MOST_TURNS = 20
"""Turns of a chat that are given to the model again; older ones have to be recalled."""

MaxTokens = Annotated[int, typer.Option(min=1, max=MAX_GENERATED_TOKENS, help="Tokens of the answer, at most.")]
Temperature = Annotated[
    float, typer.Option(min=0.0, max=MAX_TEMPERATURE, help="0 takes the likeliest token every time.")
]
TopP = Annotated[float, typer.Option(min=0.0, max=1.0, help="Draw from the likeliest tokens that make up so much.")]
Seed = Annotated[int | None, typer.Option(help="The same prompt and seed give the same answer.", show_default=False)]
K = Annotated[int, typer.Option("--k", "-k", min=0, max=MAX_GENERATE_K, help="Entries to recall; 0 for none.")]
System = Annotated[str | None, typer.Option(help="How to answer.", show_default=False)]


@dataclass(slots=True)
class Answer:
    """An answer as it came in."""

    pieces: list[str] = field(default_factory=list)
    recalled: Recall | None = None
    usage: Usage | None = None

    @property
    def text(self) -> str:
        """All of it."""
        return "".join(self.pieces)

    def follow(self, tokens: Iterable[Token]) -> Iterator[str]:
        """Yield the pieces as they come, and keep the rest."""
        for token in tokens:
            self.recalled = token.recalled or self.recalled
            self.usage = token.usage or self.usage
            if token.text:
                self.pieces.append(token.text)
                yield token.text


@connects
def generate(
    tenant: TenantId,
    prompt: Annotated[str, typer.Argument(help="The question; - reads it from stdin.", show_default=False)],
    *,
    max_tokens: MaxTokens = 256,
    temperature: Temperature = 0.0,
    top_p: TopP = 1.0,
    stop: Annotated[
        list[str] | None, typer.Option(help="End the answer before this; may be given again.", show_default=False)
    ] = None,
    seed: Seed = None,
    k: K = 10,
    system: System = None,
    min_seq: MinSeq = None,
    remember: Annotated[bool, typer.Option("--remember", help="Write question and answer to the memory.")] = False,
    session: Annotated[str | None, typer.Option(help="Session of what is remembered.", show_default=False)] = None,
    server: Server,
    as_json: AsJson = False,
) -> None:
    """Answer a question from a tenant's memory."""
    question = stdin().read() if prompt == "-" else prompt
    messages = [*_instructions(system), Message("user", question)]
    answer = Answer()
    with connect(server) as client:
        tokens = client.generate(
            tenant,
            messages,
            max_tokens=max_tokens,
            temperature=temperature,
            top_p=top_p,
            stop=stop or (),
            seed=seed,
            k=k,
            min_seq=min_seq,
            remember=remember,
            session=session,
        )
        for piece in answer.follow(tokens):
            if not as_json:
                _say(piece)
    if as_json:
        print_json(_as_object(answer))
        return
    stdout().print()
    _tell(answer)


@connects
def chat(
    tenant: TenantId,
    *,
    max_tokens: MaxTokens = 512,
    temperature: Temperature = 0.0,
    top_p: TopP = 1.0,
    seed: Seed = None,
    k: K = 10,
    system: System = None,
    remember: Annotated[
        bool, typer.Option("--remember/--no-remember", help="Whether each question and its answer become entries.")
    ] = True,
    session: Annotated[str, typer.Option(help="Session of what is remembered.")] = "chat",
    server: Server,
) -> None:
    """Talk with a tenant's memory, a line at a time, until the end of the input or /quit."""
    history: list[Message] = []
    with connect(server) as client:
        for question in _questions():
            history.append(Message("user", question))
            answer = Answer()
            tokens = client.generate(
                tenant,
                [*_instructions(system), *history[-MOST_TURNS:]],
                max_tokens=max_tokens,
                temperature=temperature,
                top_p=top_p,
                seed=seed,
                k=k,
                remember=remember,
                session=session,
            )
            for piece in answer.follow(tokens):
                _say(piece)
            stdout().print()
            if stdin().isatty():
                _tell(answer)
            if answer.text.strip():
                history.append(Message("assistant", answer.text))
            else:
                history.pop()  # as if it had not been asked: no turn may be empty


def _questions() -> Iterator[str]:
    while True:
        if stdin().isatty():
            stderr().print(Text("> ", style="bold"), end="")
        line = stdin().readline()
        if not line or line.strip() == "/quit":
            return
        if line.strip():
            yield line.strip()


def _instructions(system: str | None) -> list[Message]:
    return [] if system is None else [Message("system", system)]


def _say(piece: str) -> None:
    out = results()
    out.write(clean(piece))
    out.flush()


def _tell(answer: Answer) -> None:
    """Say on stderr what the answer is made of."""
    if answer.usage is None:
        return
    usage, hits = answer.usage, len(answer.recalled or ())
    seconds = usage.total_time.total_seconds()
    parts = [
        f"{hits} recalled",
        f"{usage.prompt_tokens} + {usage.completion_tokens} tokens",
        f"first after {show(usage.first_text_time.total_seconds())} s, all after {show(seconds)} s",
        *(["cut off at --max-tokens"] if usage.finish == "length" else []),
        *([f"remembered in record {usage.remembered_seq}"] if usage.remembered_seq else []),
    ]
    stderr().print(Text(" · ".join(parts), style="dim"), soft_wrap=True)


def _as_object(answer: Answer) -> dict[str, Any]:
    """Return what `--json` prints: `{text, recalled, usage}`."""
    recalled = None if answer.recalled is None else as_object(answer.recalled)
    return {"text": answer.text, "recalled": recalled, "usage": plain(answer.usage)}
