"""`memsvc recall`: what a tenant's memory has on a question."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from memsvc_client import DeadlineExceededError, Hit, Recall, Span, StoredEntry
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from memsvc.cli.connection import connect
from memsvc.cli.options import After, AsJson, AsOf, Before, Metadata, MinSeq, Role, Session, TenantId
from memsvc.cli.output import clean, note, plain, print_json, show, stderr, stdout
from memsvc.cli.target import Server, connects
from memsvc.limits import MAX_CONTEXT_TOKENS, MAX_K, MAX_NEIGHBOURS

MAX_LINES = 12
"""Lines of a hit's passage that are shown."""
MAX_ALSO = 5
"""Ids of entries with a hit's text that are shown."""


@connects
def recall(
    tenant: TenantId,
    query: Annotated[str, typer.Argument(help="What to look for.", show_default=False)],
    *,
    k: Annotated[int, typer.Option("--k", "-k", min=1, max=MAX_K, help="How many hits.")] = 10,
    session: Session = None,
    role: Role = None,
    after: After = None,
    before: Before = None,
    metadata: Metadata = None,
    neighbours: Annotated[
        int, typer.Option(min=0, max=MAX_NEIGHBOURS, help="Entries around each hit in its session to show with it.")
    ] = 0,
    max_tokens: Annotated[
        int | None,
        typer.Option(
            min=1, max=MAX_CONTEXT_TOKENS, help="Also pack a context for a prompt, of at most this many tokens."
        ),
    ] = None,
    min_seq: MinSeq = None,
    as_of: AsOf = None,
    server: Server,
    as_json: AsJson = False,
) -> None:
    """Find what a tenant's memory has on a question, best first."""
    with connect(server) as client, _telling_how_far():
        found = client.recall(
            tenant,
            query,
            k=k,
            session=session,
            role=role,
            after=after,
            before=before,
            metadata=metadata,
            neighbours=neighbours,
            min_seq=min_seq,
            max_tokens=max_tokens,
            as_of=as_of,
        )
    if as_json:
        print_json(as_object(found))
        return
    for rank, hit in enumerate(found, 1):
        stdout().print(render_hit(rank, hit))
    if found.context:
        # For a prompt: as it is, so that it can be piped on.
        stdout().print(Text(clean(found.context)), soft_wrap=True)
    if not found:
        stderr().print("nothing found")


@contextmanager
def _telling_how_far() -> Iterator[None]:
    """Say of a past that is not folded in time how far it is."""
    try:
        yield
    except DeadlineExceededError as error:
        if {"folded_seq", "as_of_seq"} <= error.metadata.keys():
            folded, wanted = error.metadata["folded_seq"], error.metadata["as_of_seq"]
            note(f"the past is folded up to record {folded} of {wanted}; ask again, and it goes on from there")
        raise


def as_object(found: Recall) -> dict[str, Any]:
    """Return what `--json` prints: `{applied_seq, hits, context}`."""
    hits = [{"id": hit.id, **plain(hit)} for hit in found]
    return {"applied_seq": found.applied_seq, "hits": hits, "context": found.context}


def render_hit(rank: int, hit: Hit, *, max_lines: int = MAX_LINES, show_id: bool = True) -> RenderableType:
    """Show one hit: where it comes from, what its score is made of, the lines that matched, and its neighbours."""
    title = Text.assemble((f"{rank}. ", "bold"), (f"{hit.score:.2f}  ", "bold green"), *_origin(hit.entry))
    parts = "  ".join(f"{name} {value:+.2f}" for name, value in hit.parts._asdict().items())
    body = Text(_excerpt(_lines(hit.text, hit.span), max_lines))
    rows: list[RenderableType] = [title, Text(f"   {parts}", style="dim")]
    if show_id:
        rows.append(Text(f"   id {clean(hit.id)}", style="dim"))
        if hit.also:
            rows.append(Text(f"   also {_listed(hit.also)}", style="dim"))
    rows += [Padding(_neighbour(entry), (0, 0, 0, 3)) for entry in hit.before]
    rows.append(Padding(body, (0, 0, 0, 3)))
    rows += [Padding(_neighbour(entry), (0, 0, 0, 3)) for entry in hit.after]
    return Group(*rows, Text())


def _listed(ids: Sequence[str]) -> str:
    shown = ", ".join(clean(id) for id in ids[:MAX_ALSO])
    return shown if len(ids) <= MAX_ALSO else f"{shown} and {len(ids) - MAX_ALSO} more"


def _origin(entry: StoredEntry) -> list[tuple[str, str]]:
    heading = entry.metadata.get("heading") if isinstance(entry.metadata, Mapping) else None
    parts = [
        (entry.session or "", "cyan"),
        (f" · {heading}" if isinstance(heading, str) else "", "cyan"),
        (f"  {entry.role}" if entry.role else "", "magenta"),
        (f"  {show(entry.time)}", "dim"),
    ]
    return [(clean(text), style) for text, style in parts if text]


def _neighbour(entry: StoredEntry) -> Text:
    speaker = f"{entry.role}: " if entry.role else ""
    return Text(_excerpt(speaker + entry.text, 2), style="dim")


def _lines(text: str, span: Span) -> str:
    """The whole lines that a span touches; all of them where it says nothing."""
    if span.end <= span.start:
        return text
    end = text.find("\n", span.end)
    return text[text.rfind("\n", 0, span.start) + 1 : end if end >= 0 else len(text)]


def _excerpt(text: str, max_lines: int) -> str:
    lines = clean(text).strip("\n").split("\n")
    return "\n".join(lines if len(lines) <= max_lines else [*lines[: max_lines - 1], "…"])
