"""A training's figures: a line of JSON each, and curves."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from memsvc.train.checkpoint import Progress

_CURVES = {
    "loss": ("loss",),
    "share of digits": ("digits", "digits_new", "digits_disjoint"),
    "share of ordinary tokens": ("ordinary",),
}
"""The columns of each panel, by its label."""


class Metrics:
    """The lines of one file, oldest first.

    Args:
        path: of the file.
        progress: lines from there on are dropped: a resumed training writes them again.
    """

    def __init__(self, path: Path, progress: Progress) -> None:
        self._path = path
        kept = [row for row in read(path) if (row["stage"], row["step"]) < tuple(progress)]
        path.write_text("".join(f"{json.dumps(row)}\n" for row in kept))

    def add(self, row: Mapping[str, Any]) -> None:
        """Append one."""
        with self._path.open("a") as file:
            file.write(f"{json.dumps(row)}\n")


def read(path: Path) -> list[dict[str, Any]]:
    """Return all lines that are whole; none where there is no file. The last may have been cut off by the end."""
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    return [json.loads(line) for line in lines]


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw the curves, as SVG. It needs matplotlib (the extra `bench`)."""
    # It takes a second, and is not everywhere.
    import matplotlib as mpl  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    with mpl.rc_context({"svg.hashsalt": "memsvc", "svg.fonttype": "none", "font.size": 9.0}):
        figure = Figure(figsize=(7.0, 2.2 * len(_CURVES)))
        for axes, (label, columns) in zip(figure.subplots(len(_CURVES), sharex=True), _CURVES.items(), strict=True):
            for column in columns:
                points = [(row["total"], row[column]) for row in rows if column in row]
                if points:
                    axes.plot(*zip(*points, strict=True), linewidth=1.0, label=column)
            axes.set_ylabel(label)
            axes.set_ylim(bottom=0)
            axes.legend(frameon=False)
        axes.set_xlabel("steps")
        figure.savefig(path, format="svg", bbox_inches="tight", metadata={"Date": None, "Creator": None})
