"""What a process has in memory, and how much of that is files that the system may take away again."""

from pathlib import Path
from typing import NamedTuple

PROCESSES = Path("/proc")


class Resident(NamedTuple):
    """Bytes of a process that are in memory."""

    own: int
    """Its own, shared memory among it."""
    mapped: int
    """Of files, libraries among them."""


def resident(pid: int | None) -> Resident:
    """Return what a process has in memory. Linux only.

    Raises:
        RuntimeError: the system does not say.
    """
    try:
        lines = (PROCESSES / str(pid) / "status").read_text().splitlines()
    except OSError as error:
        raise RuntimeError("this system does not tell a process's memory in /proc") from error
    kib = {name: int(value.split()[0]) for name, _, value in (line.partition(":") for line in lines) if "Rss" in name}
    return Resident(1024 * (kib["RssAnon"] + kib["RssShmem"]), 1024 * kib["RssFile"])
