"""A tenant's figures over the last minute, as sparklines."""

from collections import deque

from memsvc_client import TenantStats
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from memsvc.cli.output import clean, show
from memsvc.cli.sparkline import sparkline

KEPT = 60
"""Values that a sparkline shows at most."""
_BESIDE = 32
"""Columns for what stands beside a sparkline."""


class Figures:
    """What is drawn of a tenant's stats: surprise and gate share over time, and what else is of interest now."""

    def __init__(self, tenant: str) -> None:
        self._tenant = tenant
        self._latest: TenantStats | None = None
        self._surprise: deque[float] = deque(maxlen=KEPT)
        self._gate_share: deque[float] = deque(maxlen=KEPT)

    def add(self, stats: TenantStats) -> None:
        """Take the stats of this second."""
        before, self._latest = self._latest, stats
        self._surprise.append(stats.surprise_recent)
        share = _share_since(before, stats)
        # Where nothing was stepped meanwhile, the gate stands as it stood.
        self._gate_share.append((self._gate_share or [stats.gate_share])[-1] if share is None else share)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw what is known."""
        title = Text(f"tenant {clean(self._tenant)}", style="bold")
        stats = self._latest
        if stats is None:
            yield Text.assemble(title, ("  no figures yet", "dim"))
            return
        restart = f", {show(stats.restart_tokens_left)} tokens of a restart left" if stats.restart_tokens_left else ""
        counts = (
            f"  {show(stats.tokens)} tokens, record {show(stats.applied_seq)}, {show(stats.restarts)} restarts{restart}"
        )
        yield Text.assemble(title, (counts, "dim"))
        width = max(1, min(KEPT, options.max_width - _BESIDE))
        rows = Table.grid(padding=(0, 2))
        rows.add_row("surprise", Text(sparkline(list(self._surprise)[-width:]), "cyan"), show(stats.surprise_recent))
        shares = sparkline(list(self._gate_share)[-width:], 0.0, 1.0)
        rows.add_row("gate share", Text(shares, "magenta"), f"{self._gate_share[-1]:.0%}")
        yield rows


def _share_since(before: TenantStats | None, now: TenantStats) -> float | None:
    """Return the share of the tokens stepped between two looks that wrote; None where there were none."""
    stepped, known = now.tokens - now.tail_tokens, before.tokens - before.tail_tokens if before else 0
    if stepped <= known:
        return None
    wrote = now.gate_share * stepped - (before.gate_share * known if before else 0.0)
    return min(1.0, max(0.0, wrote / (stepped - known)))
