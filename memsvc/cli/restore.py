"""`memsvc restore`: a tenant's past brought back, as another tenant or in its own place."""

from typing import Annotated, Any

import typer
from memsvc_client import Tenant
from rich.text import Text

from memsvc.cli.connection import LONG_TIMEOUT_S, connect
from memsvc.cli.options import AsJson, TenantId, Yes, parse_moment
from memsvc.cli.output import USAGE, agree, clean, fail, print_json, show, stdout
from memsvc.cli.target import Server, connects


@connects
def restore(
    tenant: TenantId,
    to: Annotated[
        Any,  # a Moment: typer takes no unions
        typer.Argument(
            parser=parse_moment, help="Which moment: a record's number, or a time.", metavar="TO", show_default=False
        ),
    ] = None,
    *,
    as_tenant: Annotated[
        str | None,
        typer.Option("--as", help="Make another tenant of it, of this id.", metavar="NEW", show_default=False),
    ] = None,
    confirm: Annotated[
        bool, typer.Option("--confirm", help="Destroy what a restored tenant was before.", show_default=False)
    ] = False,
    undo: Annotated[
        bool, typer.Option("--undo", help="Put it back; what was written since is destroyed.", show_default=False)
    ] = False,
    yes: Yes = False,
    server: Server,
    as_json: AsJson = False,
) -> None:
    """Bring a tenant's past back, in its own place unless --as names another.

    In its own place, what it was until now is kept until --confirm or --undo, and nothing can be forgotten meanwhile.
    """
    if (to is not None) + confirm + undo != 1:
        fail("say one of these: the moment to go back to, --confirm, or --undo", USAGE)
    if as_tenant is not None and to is None:
        fail("--as goes with a moment to go back to", USAGE)
    if to is not None and as_tenant is None:
        agree(f"Put tenant {tenant} back to {_words(to)}?", yes=yes, as_json=as_json)
    with connect(server, timeout=LONG_TIMEOUT_S) as client:
        if confirm:
            client.confirm_restore(tenant)
            _say(
                {"confirmed": tenant},
                f"tenant {tenant} stays as it is; what it was before is destroyed",
                as_json=as_json,
            )
        elif undo:
            _say(client.undo_restore(tenant), f"tenant {tenant} is what it was before", as_json=as_json)
        else:
            restored = client.restore(tenant, to, as_tenant)
            said = f"tenant {restored.tenant} is tenant {tenant} as it was at {_words(to)}"
            if as_tenant is None:
                said += "\nwhat it was is kept: `memsvc restore TENANT --confirm` destroys it, --undo brings it back"
            _say(restored, said, as_json=as_json)


def _say(result: Tenant | dict[str, str], words: str, *, as_json: bool) -> None:
    if as_json:
        print_json(result)
    else:
        stdout().print(Text(clean(words)), soft_wrap=True)


def _words(to: Any) -> str:
    return f"record {show(to)}" if isinstance(to, int) else f"{to:%Y-%m-%d %H:%M:%S %Z}"
