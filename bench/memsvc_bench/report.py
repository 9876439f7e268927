"""The one form in which benchmarks and the demo report: where it ran, what it measured, what it had to reach."""

import json
import math
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

_PACKAGES = ("memsvc", "torch", "transformers", "grpcio")
_CPU_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One target and what was measured against it."""

    name: str
    value: float | bool | str
    target: str
    """What must hold of the value, for example `>= 0.79`."""
    ok: bool

    @classmethod
    def at_least(cls, name: str, value: float, target: float) -> "Check":
        """Hold if the value reaches the target; NaN never does."""
        return cls(name=name, value=value, target=f">= {target:g}", ok=bool(value >= target))

    @classmethod
    def at_most(cls, name: str, value: float, target: float) -> "Check":
        """Hold if the value stays within the target; NaN never does."""
        return cls(name=name, value=value, target=f"<= {target:g}", ok=bool(value <= target))

    @classmethod
    def holds(cls, name: str, value: bool) -> "Check":
        """Hold if it is true."""
        return cls(name=name, value=bool(value), target="true", ok=bool(value))


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What one run of one command found."""

    machine: Mapping[str, Any]
    """From `describe_machine`."""
    command: str
    """The command line that repeats the run, without paths of this machine."""
    figures: Mapping[str, Any]
    """What was measured; names end with their unit. A mapping in it is one row of a table."""
    checks: Sequence[Check] = ()

    @property
    def ok(self) -> bool:
        """Whether every check holds."""
        return all(check.ok for check in self.checks)

    def to_json(self) -> str:
        """Return the object `{machine, command, figures, checks}`; what is not finite becomes null."""
        return json.dumps(_finite(asdict(self)), allow_nan=False)


def describe_machine(
    *,
    cpu_info: Path = Path("/proc/cpuinfo"),
    cores: Callable[[], int | None] = os.cpu_count,
) -> dict[str, Any]:
    """Say what a figure depends on: processor, cores, memory, system, versions. Names no host and no user."""
    fields = _cpu_fields(cpu_info)
    flags = set(fields.get("flags", "").split())
    return {
        "cpu": fields.get("model name") or platform.processor() or platform.machine(),
        "cpu_flags": [flag for flag in _CPU_FLAGS if flag in flags],
        "cores": cores(),
        "memory_gib": _memory_gib(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "versions": {name: found for name in _PACKAGES if (found := _version(name))},
    }


def render(result: Result) -> RenderableType:
    """Show a result in a terminal: figures, then rows of tables, then checks."""
    parts: list[RenderableType] = []
    scalars = {name: value for name, value in result.figures.items() if not isinstance(value, Mapping)}
    if scalars:
        parts += [_figures_table(scalars), ""]
    for table in _tables(result.figures):
        parts += [_rows_table(table), ""]
    if result.checks:
        parts += [_checks_table(result.checks), ""]
    machine = result.machine
    memory = f", {machine['memory_gib']} GiB" if machine.get("memory_gib") else ""
    parts.append(Text(f"{machine.get('cpu')}, {machine.get('cores')} cores{memory}", style="dim"))
    return Group(*parts)


def _figures_table(figures: Mapping[str, Any]) -> Table:
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="dim")
    table.add_column(justify="right")
    for name, value in figures.items():
        table.add_row(Text(name.replace("_", " ")), Text(show(value)))
    return table


def _tables(figures: Mapping[str, Any]) -> list[dict[str, Mapping[str, Any]]]:
    """Return the rows among the figures, in a table for each run of rows with the same columns."""
    tables: list[dict[str, Mapping[str, Any]]] = []
    columns: list[str] = []
    for label, row in figures.items():
        if not isinstance(row, Mapping):
            continue
        if not tables or list(row) != columns:
            tables.append({})
            columns = list(row)
        tables[-1][label] = row
    return tables


def _rows_table(rows: Mapping[str, Mapping[str, Any]]) -> Table:
    columns = list(next(iter(rows.values())))
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for name in columns:
        table.add_column(name.replace("_", " "), justify="right")
    for label, row in rows.items():
        table.add_row(Text(label), *(Text(show(row[name])) for name in columns))
    return table


def _checks_table(checks: Sequence[Check]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name, justify in (("check", "left"), ("value", "right"), ("target", "right"), ("", "left")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]  # a literal, through a tuple
    for check in checks:
        verdict = Text("ok", style="green") if check.ok else Text("FAILED", style="bold red")
        table.add_row(Text(check.name), Text(show(check.value)), Text(check.target), verdict)
    return table


def show(value: object) -> str:
    """Write one figure for people."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    if isinstance(value, str):
        return value
    return ", ".join(map(show, value)) if isinstance(value, Sequence) else str(value)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if hasattr(value, "item"):  # a scalar of numpy
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _cpu_fields(path: Path) -> dict[str, str]:
    """The first processor's fields; empty where the system does not tell them this way."""
    try:
        first, _, _ = path.read_text().partition("\n\n")
    except OSError:
        return {}
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def _memory_gib() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (ValueError, OSError, AttributeError):
        return None


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
