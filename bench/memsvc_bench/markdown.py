"""Results as Markdown, for the documentation: `python -m memsvc_bench.markdown bench/results/service.json …`."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any


def render(result: Mapping[str, Any]) -> str:
    """Return a result, as `Result.to_json` gives it, as Markdown: the machine, figures, tables, checks."""
    return "\n\n".join([f"`{result['command']}`", machine(result["machine"]), *tables(result)]) + "\n"


def tables(result: Mapping[str, Any]) -> list[str]:
    """Return the tables of a result: its figures, those of more columns, its checks. What is listed is for programs."""
    parts: list[str] = []
    scalars = {name: value for name, value in result["figures"].items() if not _is_wide(value)}
    rows = [(name, value) for name, value in result["figures"].items() if isinstance(value, Mapping)]
    if scalars:
        parts.append(table(["figure", "value"], [[_words(name), show(value)] for name, value in scalars.items()]))
    for columns, group in groupby(rows, key=lambda row: list(row[1])):
        lines = [[name, *(show(row[column]) for column in columns)] for name, row in group]
        parts.append(table(["", *map(_words, columns)], lines))
    if result["checks"]:
        lines = [[c["name"], show(c["value"]), c["target"], "yes" if c["ok"] else "**no**"] for c in result["checks"]]
        parts.append(table(["check", "value", "target", "holds"], lines))
    return parts


def main(paths: Sequence[str]) -> None:
    """Print the results in these files."""
    print("\n".join(render(json.loads(Path(path).read_text())) for path in paths), end="")


def machine(machine: Mapping[str, Any]) -> str:
    """Name a machine and its versions in a line."""
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    flags = f" ({', '.join(machine['cpu_flags'])})" if machine["cpu_flags"] else ""
    return (
        f"{machine['cpu']}{flags}, {machine['cores']} cores, {machine['memory_gib']} GiB; {machine['system']}; "
        f"Python {machine['python']}; {versions}"
    )


def table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Return a table; all columns but the first are numbers."""

    def rows() -> Iterator[str]:
        yield "| " + " | ".join(header) + " |"
        yield "|---" + "|---:" * (len(header) - 1) + "|"
        for line in lines:
            yield "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |"

    return "\n".join(rows())


def _is_wide(value: object) -> bool:
    """Whether it has columns, or is a list of what has."""
    return isinstance(value, Mapping) or (isinstance(value, list) and any(map(_is_wide, value)))


def _words(name: str) -> str:
    return name.replace("_", " ")


def show(value: object) -> str:
    """Write one figure."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return ", ".join(map(show, value)) if isinstance(value, list) else str(value)


if __name__ == "__main__":
    main(sys.argv[1:])
