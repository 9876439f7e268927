"""Texts of domains that are unlike each other, for the benchmark of drift."""

import argparse
import gettext
import inspect
import json
import random
from pathlib import Path

from memsvc_bench import documents, locomo

CATALOGUES = ("/usr/share/locale/de/LC_MESSAGES", "/usr/share/vim/vim90/lang/de/LC_MESSAGES")
"""Where a Debian keeps German messages of its packages."""
SHORTEST_MESSAGE = 30
DNA_ENTRIES, DNA_BASES = 150, 300
LINES = 8
"""Lines of a play that are written together."""


def domains(data: Path, plays: Path | None = None) -> dict[str, list[str]]:
    """Return texts by the name of their domain. A language that the machine has no catalogues of is left out.

    Args:
        data: a LoCoMo file; its turns are shuffled, so that no subject lasts.
        plays: a text of plays.

    Raises:
        ValueError: the file is not LoCoMo's.
    """
    rng = random.Random(1)
    conversation = [entry.text for stream in locomo.load(data) for entry in stream.entries]
    rng.shuffle(conversation)
    modules = (argparse, json.decoder, random, gettext, inspect)
    source = [block for module in modules for block in inspect.getsource(module).split("\n\n") if block.strip()]
    found = {
        "conversation": conversation,
        "manual": [entry.text for entry in documents.load().entries],
        "source": source,
        "dna": ["".join(rng.choices("ACGT", k=DNA_BASES)) for _ in range(DNA_ENTRIES)],
    }
    if plays is not None:
        lines = [line for line in plays.read_text().splitlines() if line.strip()]
        found["plays"] = [" ".join(lines[i : i + LINES]) for i in range(0, len(lines), LINES)]
    if german := _messages():
        rng.shuffle(german)
        found["german"] = german
    return found


def _messages() -> list[str]:
    messages: set[str] = set()
    for file in sorted(file for folder in CATALOGUES for file in Path(folder).glob("*.mo")):
        try:
            with file.open("rb") as opened:
                catalogue = gettext.GNUTranslations(opened)._catalog  # type: ignore[attr-defined]  # no other way to list it
        except (OSError, ValueError, UnicodeDecodeError):
            continue
        # The first of a catalogue, of the empty message, is about the catalogue.
        messages |= {text for key, text in catalogue.items() if key and len(text) >= SHORTEST_MESSAGE}
    return sorted(messages)
