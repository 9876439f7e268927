"""`memsvc bench needle`."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import typer

from memsvc.cli.options import AsJson
from memsvc.cli.publish import publish


def needle(
    *,
    preset: Annotated[
        Literal["text", "dialogue", "dna"], typer.Option(help="Which model, and what its facts and haystacks are.")
    ] = "text",
    folder: Annotated[
        Path, typer.Option(file_okay=False, help="Of the run; one that was broken off is gone on with.", metavar="DIR")
    ] = Path("needle"),
    model: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="Another file than the one that ships.", metavar="FILE"),
    ] = None,
    lengths: Annotated[
        str,
        typer.Option(help="Tokens after which it asks, ascending.", metavar="N,N…", show_default=False),
    ] = "",
    haystack: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="A text in place of ours.", metavar="FILE")
    ] = None,
    ablation: Annotated[list[str] | None, typer.Option(help="Another trained model.", metavar="NAME=FILE")] = None,
    beyond: Annotated[int, typer.Option(min=0, help="A length past two million that a few streams go on to.")] = 0,
    service: Annotated[bool, typer.Option(help="Ask a server's tenants, too.")] = True,
    rows: Annotated[int, typer.Option(min=1, help="Streams that are computed together, at most.")] = 5,
    threads: Annotated[int, typer.Option(min=1, help="Cores.")] = 2,
    device: Annotated[Literal["cpu", "cuda"], typer.Option(help="Computes the passes.")] = "cpu",
    as_json: AsJson = False,
) -> None:
    """Measure how many facts a Titans-MAC model finds after two million tokens, and what its memory costs."""
    from memsvc_bench import needle as benchmark  # noqa: PLC0415
    from memsvc_bench.needle_plan import FULL  # noqa: PLC0415

    try:
        asked = tuple(map(int, lengths.split(","))) if lengths else FULL.lengths
    except ValueError:
        raise typer.BadParameter("must be numbers with commas between them", param_hint="--lengths") from None
    others: dict[str, Path] = {}
    for given in ablation or ():
        name, _, path = given.partition("=")
        if not name or not path:
            raise typer.BadParameter("must be a name, =, and a model's file", param_hint="--ablation")
        others[name] = Path(path)
    publish(
        lambda: benchmark.bench(
            preset,
            folder,
            model=model,
            file=haystack,
            ablations=others,
            beyond=beyond,
            threads=threads,
            device=device,
            scale=replace(FULL, lengths=asked, rows=rows, tenants=FULL.tenants if service else 0),
        ),
        as_json=as_json,
    )
