"""How the kernels cut their work into tiles, on which the last bits of results depend: one shape, one configuration."""

import json
from functools import cache
from importlib.resources import files
from typing import NamedTuple

TABLE = "table.json"


class Blocks(NamedTuple):
    """The tiles of one shape of memory; powers of two, at least 16."""

    tokens: int = 64
    """Tokens of a tile."""
    outputs: int = 64
    """Rows and columns of a tile of weights that is written."""
    inputs: int = 32
    """Columns that are summed over at a time; where gradients are summed over tokens, tokens."""
    warps: int = 4
    """Of 32 threads, for each program."""
    stages: int = 3
    """How many tiles are under way while one is computed with."""


def lookup(device: str, layers: int, width: int) -> Blocks:
    """Return what `memsvc_kernels.triton.tune` found for a shape on a device, the default where it did not look.

    Args:
        device: as torch names it.
        layers: L.
        width: d.
    """
    return Blocks(*_table().get(device, {}).get(shape_name(layers, width), Blocks()))


def shape_name(layers: int, width: int) -> str:
    """Return what a shape is called in the table."""
    return f"{layers}x{width}"


@cache
def _table() -> dict[str, dict[str, list[int]]]:
    """Return the committed table: device, shape, blocks."""
    table: dict[str, dict[str, list[int]]] = json.loads((files(__package__) / TABLE).read_text())
    return table
