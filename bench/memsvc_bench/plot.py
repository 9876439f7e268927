"""Results as curves and bars, for the documentation: `python -m memsvc_bench.plot RESULT.json OUT_DIR`.

The files are small SVGs with text as text. Equal results give equal bytes with one version of matplotlib.
"""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

Series = Mapping[str, Sequence[tuple[float, float]]]
"""Points (x, y) of each line, by name."""
Bars = Mapping[str, Mapping[str, float]]
"""Height of each bar, by label, of each series, by name."""
Bands = Mapping[str, Sequence[tuple[float, float]]]
"""Bounds of each point of some series."""
Figures = Mapping[str, Any]

WIDTH, HEIGHT = 7.0, 4.0
"""Inches."""
STYLE: Mapping[Any, Any] = MappingProxyType(
    {
        "svg.hashsalt": "memsvc",  # names of elements, which are random else
        "svg.fonttype": "none",
        "font.size": 9.0,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": "#dddddd",
        "legend.frameon": False,
    }
)


def lines(
    path: Path,
    title: str,
    x_label: str,
    y_label: str,
    series: Series,
    *,
    log_x: bool = False,
    chance: float | None = None,
    top: float | None = None,
    bands: Bands = MappingProxyType({}),
) -> None:
    """Draw a line with a mark at each point for each series, and a dashed one for chance where that is given.

    The y axis begins at 0 and ends at `top`, or where the points do. Bands are shaded.
    """

    def draw(axes: Axes) -> None:
        for name, points in series.items():
            (line,) = axes.plot(*zip(*points, strict=True), marker="o", markersize=3, linewidth=1.2, label=name)
            if name in bands:
                low, high = zip(*bands[name], strict=True)
                axes.fill_between([x for x, _ in points], low, high, color=line.get_color(), alpha=0.15, linewidth=0)
        axes.set(title=title, xlabel=x_label, ylabel=y_label)
        if log_x:
            axes.set_xscale("log")
            ticks = sorted({x for points in series.values() for x, _ in points})
            axes.set_xticks(ticks, [f"{tick:,g}" for tick in ticks])
            axes.minorticks_off()
        else:
            axes.xaxis.set_major_formatter("{x:,g}")
        if chance is not None:
            axes.axhline(chance, linestyle="--", linewidth=1.0, color="#888888", label="chance")
        axes.set_ylim(bottom=0, top=top)
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))

    _save(path, draw, HEIGHT)


def bars(path: Path, title: str, x_label: str, series: Bars) -> None:
    """Draw bars to the right, a group for each label with one of each series, the first label on top."""
    labels = list(next(iter(series.values())))
    thick = 0.8 / len(series)

    def draw(axes: Axes) -> None:
        for i, (name, heights) in enumerate(series.items()):
            places = [row + (i - (len(series) - 1) / 2) * thick for row in range(len(labels))]
            drawn = axes.barh(places, [heights[label] for label in labels], height=thick, label=name)
            if len(series) == 1:
                axes.bar_label(drawn, fmt="%.3f", padding=2)
        axes.set_yticks(range(len(labels)), labels)
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.set(title=title, xlabel=x_label)
        if len(series) > 1:
            axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))

    _save(path, draw, 0.8 + len(labels) * (0.14 + 0.14 * len(series)))


def forgetting(figures: Figures, folder: Path) -> None:
    """Draw what is read back, and told from its twin, by tokens read since and by facts told."""
    kinds = (("read back", "read-back", figures["chance"]), ("told from twin", "twin", 0.5))
    for kind, name, chance in kinds:
        after = _curves(figures, f"{kind}, ", f"{kind} after ")
        told = _curves(figures, f"{kind} of all told, ", f"{kind} of ")
        title, share = f"Facts {kind}", "share of facts"
        lines(folder / f"forgetting-{name}.svg", title, "tokens of the manual read since", share, after, chance=chance)
        lines(folder / f"capacity-{name}.svg", title, "facts told", share, told, log_x=True, chance=chance)


def importance(figures: Figures, folder: Path) -> None:
    """Draw recall, and the answers kept, under each policy."""
    rows = {name: row for name, row in figures.items() if isinstance(row, Mapping) and "answers kept" in row}
    series = {
        "recall@10": {name: row["@10"] for name, row in rows.items()},
        "answering entries kept": {name: row["answers kept"] for name, row in rows.items()},
    }
    bars(folder / "importance.svg", "Half of a conversation kept", "share", series)


def memory(figures: Figures, folder: Path) -> None:
    """Draw dense recall of every variant and control on each corpus."""
    rows = {name: row for name, row in figures.items() if isinstance(row, Mapping)}
    corpora = [column.removesuffix(" @10") for column in next(iter(rows.values())) if column.endswith(" @10")]
    series = {corpus: {name: row[f"{corpus} @10"] for name, row in rows.items()} for corpus in corpora}
    bars(folder / "memory.svg", "Dense recall by the memory's settings", "recall@10", series)


def drift(figures: Figures, folder: Path) -> None:
    """Draw switches seen, and false alarms, by how far surprise has to jump, for how many windows running."""
    windows = {name: f"{name}, " for name in ("3 windows", "1 window")}
    alarms = {name: _by_sigma(figures, f"single domains, {at}", "others_per_million") for name, at in windows.items()}
    lines(folder / "drift-alarms.svg", "False alarms in other domains", "sigma", "per million tokens", alarms)
    seen = {name: _by_sigma(figures, f"switches, {at}", "seen") for name, at in windows.items()}
    lines(folder / "drift-seen.svg", "Switches seen within 4,096 tokens", "sigma", "share", seen, top=1.05)


def genomics(figures: Figures, folder: Path) -> None:
    """Draw recall in each way, and drift from English to DNA and back."""
    rows = {name: row for name, row in figures.items() if isinstance(row, Mapping) and "@10" in row}
    series = {f"recall{k}": {name: row[k] for name, row in rows.items()} for k in ("@1", "@10")}
    bars(folder / "genomics.svg", "Fragments of DNA found", "recall", series)
    seen = {way: _by_sigma(figures, "switches, ", f"{way}, seen") for way in ("to DNA", "back")}
    lines(folder / "genomics-drift.svg", "Switches seen within 4,096 tokens", "sigma", "share", seen, top=1.05)


def needle(figures: Figures, folder: Path) -> None:
    """Draw what is found by the length of the text, and by the number of facts, each with its 95 %."""
    rows = {name: row for name, row in figures.items() if isinstance(row, Mapping) and "at_least" in row}
    plots = (("needle", "length", "tokens of the stream"), ("needle-capacity", "facts", "facts of the stream"))
    for name, x, label in plots:
        chosen = [(key, row) for key, row in rows.items() if x in row]
        series: dict[str, list[tuple[float, float]]] = {}
        bands: dict[str, list[tuple[float, float]]] = {}
        for key, row in chosen:
            line = f"at {row['tokens']:,} tokens" if x == "facts" else key.rpartition(", ")[0]
            # The first word is the number of facts, or the model's name.
            if x == "length" or key.startswith(f"{row['facts']} facts"):
                series.setdefault(line, []).append((row[x], row["exact"]))
                bands.setdefault(line, []).append((row["at_least"], row["at_most"]))
        title = f"Facts found, {figures['preset']}"
        path = folder / f"{name}-{figures['preset']}.svg"
        lines(path, title, label, "exact", series, log_x=True, top=1.05, bands=bands)


def context_capacity(figures: Figures, folder: Path) -> None:
    """Draw what memories of each width hold, by the number of facts."""
    column = "exact_of_"
    series = {
        name: [(float(key.removeprefix(column)), value) for key, value in row.items() if key.startswith(column)]
        for name, row in figures.items()
        if isinstance(row, Mapping) and name.rpartition(" ")[0].endswith("hidden")
    }
    lines(folder / "context-capacity.svg", "Facts held by a context memory", "facts told", "exact", series, log_x=True)


def kernels(figures: Figures, folder: Path) -> None:
    """Draw writes and reads of each by depth and tenants."""
    rows = {name: row for name, row in figures.items() if isinstance(row, Mapping) and "tokens_per_s" in row}
    for kind in ("write", "read"):
        series: dict[str, dict[str, float]] = {}
        for name, row in rows.items():
            case, found, contender = name.partition(f", {kind}: ")
            if found:
                series.setdefault(contender, {})[case] = row["tokens_per_s"]
        if series:
            bars(folder / f"kernels-{kind}.svg", f"The memory's {kind}", "tokens per second", series)


def peers(figures: Figures, folder: Path) -> None:
    """Draw recall, ingest and the time of a recall of each, a group for each of them and a bar for each size."""
    rows = {name: row for name, row in figures.items() if isinstance(row, Mapping) and "recall_p50_ms" in row}
    kinds = (
        ("recall_at_10", "Evidence found", "recall@10"),
        ("entries_per_s", "Ingest", "entries per second"),
        ("recall_p50_ms", "Recall", "ms, median"),
    )
    for kind, title, label in kinds:
        series: dict[str, dict[str, float]] = {}
        for name, row in rows.items():
            size, _, contender = name.partition(": ")
            if kind in row:
                series.setdefault(size, {})[contender] = row[kind]
        if series:
            # Not all of them go on to the largest size.
            most = max(series.values(), key=len)
            whole = {size: {name: heights.get(name, 0.0) for name in most} for size, heights in series.items()}
            bars(folder / f"peers-{kind.replace('_', '-')}.svg", title, label, whole)


def scale(figures: Figures, folder: Path) -> None:
    """Draw throughput, the time of a recall, and memory, by what grows."""
    axes = (
        ("history", "tokens of the tenant"),
        ("tenants", "tenants"),
        ("chunk", "tokens of a chunk"),
        ("depth", "layers"),
    )
    kinds = (
        ("tokens_per_s", "tokens per second"),
        ("step_alone_tokens_per_s", "tokens per second of steps alone"),
        ("recall_p50_ms", "recall, ms, median"),
        ("memory_mb", "MB"),
    )
    for axis, x_label in axes:
        rows = [row for row in figures.values() if isinstance(row, Mapping) and axis in row]
        for kind, y_label in kinds:
            points = [(float(row[axis]), row[kind]) for row in rows if kind in row]
            if points:
                path = folder / f"scale-{axis}-{kind.replace('_', '-')}.svg"
                lines(path, f"By {x_label}", x_label, y_label, {"memsvc": points}, log_x=axis != "depth")


PLOTS: Mapping[str, Callable[[Figures, Path], None]] = MappingProxyType(
    {
        draw.__name__.replace("_", "-"): draw
        for draw in (forgetting, importance, memory, drift, genomics, needle, context_capacity, kernels, peers, scale)
    }
)
"""What can be drawn, by the name of the benchmark."""


def draw_all(result: Mapping[str, Any], folder: Path) -> list[str]:
    """Draw a result, as `Result.to_json` gives it, into a folder; return the files' names, none if it has no plot."""
    name = _benchmark(result)
    if name not in PLOTS:
        return []
    folder.mkdir(parents=True, exist_ok=True)
    # The folder may hold other plots.
    with TemporaryDirectory(dir=folder) as scratch:
        PLOTS[name](result["figures"], Path(scratch))
        return [file.replace(folder / file.name).name for file in sorted(Path(scratch).iterdir())]


def main(arguments: Sequence[str]) -> None:
    """Draw the result in a file into a folder.

    Raises:
        SystemExit: it is not called so, or there is nothing to draw of such a result.
    """
    if len(arguments) != 2:
        raise SystemExit("usage: python -m memsvc_bench.plot RESULT.json OUT_DIR")
    result = json.loads(Path(arguments[0]).read_text())
    if not draw_all(result, Path(arguments[1])):
        raise SystemExit(f"no plot of {_benchmark(result)}; there are {', '.join(PLOTS)}")


def _benchmark(result: Mapping[str, Any]) -> str:
    name: str = result["command"].split()[2]
    return name


def _curves(figures: Figures, row: str, column: str) -> dict[str, list[tuple[float, float]]]:
    """Points of the rows whose names begin so, by what their columns' names end with."""
    found = {name.removeprefix(row): values for name, values in figures.items() if name.startswith(row)}
    return {
        name: [(float(label.removeprefix(column).replace(",", "")), value) for label, value in values.items()]
        for name, values in found.items()
    }


def _by_sigma(figures: Figures, row: str, column: str) -> list[tuple[float, float]]:
    rows = {name.removeprefix(f"{row}sigma "): values for name, values in figures.items() if name.startswith(row)}
    return [(float(sigma), values[column]) for sigma, values in rows.items()]


def _save(path: Path, draw: Callable[[Axes], None], height: float) -> None:
    with mpl.rc_context(dict(STYLE)):
        figure = Figure(figsize=(WIDTH, height))
        draw(figure.add_subplot())
        figure.savefig(path, format="svg", bbox_inches="tight", metadata={"Date": None, "Creator": None})
    # matplotlib ends lines with blanks.
    path.write_text("".join(f"{line.rstrip()}\n" for line in path.read_text().splitlines()))


if __name__ == "__main__":
    main(sys.argv[1:])
