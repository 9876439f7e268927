"""`memsvc bench all`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from memsvc.cli.options import AsJson
from memsvc.cli.output import FAILED, clean, fail, print_json, stdout, table


def bench_all(
    *,
    folder: Annotated[
        Path,
        typer.Option(
            file_okay=False,
            help="Of the run; one that was broken off is gone on with.",
            metavar="DIR",
            show_default=False,
        ),
    ],
    data: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="The LoCoMo file, for memory and peers.", metavar="FILE"),
    ] = None,
    only: Annotated[str, typer.Option(help="Only these.", metavar="NAME,…", show_default=False)] = "",
    quick: Annotated[
        bool, typer.Option("--quick", help="Show in short that all of it works; nothing is measured.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Run kernels, memory, peers and scale, and write their results and a page with plots."""
    from memsvc_bench import suite  # noqa: PLC0415

    chosen = {name.strip() for name in only.split(",")} if only else set(suite.PARTS)
    if unknown := sorted(chosen - set(suite.PARTS)):
        raise typer.BadParameter(f"there is no {unknown[0]!r}; there are {', '.join(suite.PARTS)}", param_hint="--only")
    names = [name for name in suite.PARTS if name in chosen]
    try:
        parts = suite.bench(folder, data=data, names=names, quick=quick)
    except (OSError, ValueError) as error:
        fail(str(error))
    if as_json:
        print_json({"parts": parts})
    else:
        rows = table("part", "checks that hold", "", right={"checks that hold"})
        for name, part in parts.items():
            held = [check["ok"] for check in part.get("checks", ())]
            rows.add_row(name, f"{sum(held)} of {len(held)}" if held else "", Text(clean(part.get("error", ""))))
        stdout().print(rows)
        stdout().print(Text(clean(str(folder / suite.PAGE))), soft_wrap=True)
    raise typer.Exit(0 if all(map(suite.holds, parts.values())) else FAILED)
