"""What the files of a data directory hold."""

import re
import subprocess
from collections import Counter
from pathlib import Path

SIZES = [0, 40, 300, 900, 1_500, 3_000, 4_050, 4_100, 9_000]
"""Of texts: on a page with others, on one of their own, on several."""


def contents(directory: Path) -> bytes:
    """Every byte of every file. By another process: to close a database's file here would drop SQLite's locks on it."""
    files = sorted(map(str, directory.iterdir()))
    return subprocess.run(["cat", *files], check=True, capture_output=True).stdout


def marks(directory: Path) -> Counter[str]:
    return Counter(mark.decode() for mark in re.findall(rb"<mark-[a-z]+-\d+>", contents(directory)))
