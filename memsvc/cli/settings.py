"""The settings of a tenant's memory as options."""

from typing import Annotated, Any, Literal, cast

import typer
from memsvc_client import MemorySettings

Theta = Annotated[float | None, typer.Option(help="Step size on the mean gradient of a chunk.", show_default=False)]
Eta = Annotated[float | None, typer.Option(help="Momentum, 0 to below 1.", show_default=False)]
HalfLife = Annotated[
    float | None,
    typer.Option(help="Tokens written until half of what was learnt is forgotten; 0 is never.", show_default=False),
]
Gate = Annotated[
    Literal["off", "fixed", "quantile"] | None,
    typer.Option(help="Which tokens write: all, or those above a threshold.", show_default=False),
]
GateValue = Annotated[
    float | None,
    typer.Option(help="The fixed threshold, or the quantile below which tokens do not write.", show_default=False),
]
Drift = Annotated[
    bool | None,
    typer.Option(
        "--drift/--no-drift", help="Whether a drift of the text's surprise restarts the learning.", show_default=False
    ),
]
DriftSigma = Annotated[
    float | None,
    typer.Option(help="Standard deviations from which on a window counts as drift.", show_default=False),
]
DriftWindows = Annotated[
    int | None, typer.Option(min=0, help="Windows running that must count as drift.", show_default=False)
]
RestartTokens = Annotated[int | None, typer.Option(min=0, help="Tokens that a restart lasts.", show_default=False)]


def given(**options: Any) -> MemorySettings:
    """Return the settings that the command line gives, without those it leaves out."""
    return cast("MemorySettings", {name: value for name, value in options.items() if value is not None})
