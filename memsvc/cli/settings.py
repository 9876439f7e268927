"""The settings of a tenant as options: of its memory, and of what it keeps."""

import inspect
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import wraps
from types import MappingProxyType
from typing import Annotated, Any, Literal, ParamSpec

import typer

from memsvc.cli.options import parse_duration

_P = ParamSpec("_P")

_OPTIONS: Mapping[str, Any] = MappingProxyType(
    {
        "theta": Annotated[
            float | None, typer.Option(help="Step size on the mean gradient of a chunk.", show_default=False)
        ],
        "eta": Annotated[float | None, typer.Option(help="Momentum, 0 to below 1.", show_default=False)],
        "half_life": Annotated[
            float | None,
            typer.Option(
                help="Tokens written until half of what was learnt is forgotten; 0 is never.", show_default=False
            ),
        ],
        "gate": Annotated[
            Literal["off", "fixed", "quantile"] | None,
            typer.Option(help="Which tokens write: all, or those above a threshold.", show_default=False),
        ],
        "gate_value": Annotated[
            float | None,
            typer.Option(
                help="The fixed threshold, or the quantile below which tokens do not write.", show_default=False
            ),
        ],
        "drift": Annotated[
            bool | None,
            typer.Option(
                "--drift/--no-drift",
                help="Whether a drift of the text's surprise restarts the learning.",
                show_default=False,
            ),
        ],
        "drift_sigma": Annotated[
            float | None,
            typer.Option(help="Standard deviations from which on a window counts as drift.", show_default=False),
        ],
        "drift_windows": Annotated[
            int | None, typer.Option(min=0, help="Windows running that must count as drift.", show_default=False)
        ],
        "restart_tokens": Annotated[
            int | None, typer.Option(min=0, help="Tokens that a restart lasts.", show_default=False)
        ],
        "window": Annotated[
            int | None,
            typer.Option(
                min=0, help="Tokens of prompt and answer that a Hugging Face backbone attends to.", show_default=False
            ),
        ],
        "max_entries": Annotated[
            int | None,
            typer.Option(
                min=1, help="Entries that recall chooses from; past it the least important leave.", show_default=False
            ),
        ],
        "ttl": Annotated[
            timedelta | None,
            typer.Option(
                parser=parse_duration,
                help="How long an entry lives that does not say so itself, such as 30d or 12h; 0 is for ever.",
                metavar="DURATION",
                show_default=False,
            ),
        ],
        "snapshots": Annotated[
            Literal["none", "log_spaced", "all"] | None,
            typer.Option(help="Which snapshots are kept for recall as of the past.", show_default=False),
        ],
        "duplicates": Annotated[
            Literal["keep", "merge"] | None,
            typer.Option(
                help="Whether a text that is there already is one more, or is learnt and recalled once.",
                show_default=False,
            ),
        ],
    }
)


def with_settings(command: Callable[_P, None]) -> Callable[_P, None]:
    """Give a command that takes `**settings` an option for each, before `--target`. It gets those that are given."""

    @wraps(command)
    def run(*args: _P.args, **options: _P.kwargs) -> None:
        for name in _OPTIONS:
            if options.get(name) is None:
                options.pop(name, None)
        command(*args, **options)

    own = [each for each in inspect.signature(command).parameters.values() if each.kind is not each.VAR_KEYWORD]
    place = [each.name for each in own].index("target")
    own[place:place] = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=option)
        for name, option in _OPTIONS.items()
    ]
    run.__signature__ = inspect.Signature(own)  # type: ignore[attr-defined]  # what typer looks at
    return run
