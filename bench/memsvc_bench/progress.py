"""How far a long benchmark is, on stderr: a bar on a terminal, a line for each step elsewhere."""

from collections.abc import Collection, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import track

Item = TypeVar("Item")


def told(items: Collection[Item], what: str) -> Iterator[Item]:
    """Yield the items, and tell how many are done."""
    console = Console(stderr=True)
    if console.is_terminal:
        yield from track(items, description=what, console=console, transient=True)
        return
    for i, item in enumerate(items):
        console.print(f"{what}: {i} of {len(items)}", highlight=False)
        yield item
