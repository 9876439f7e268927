"""Cuts a document into passages where a reader would: at headings, blocks, paragraphs, sentences, lines, words."""

import re
import unicodedata
from typing import NamedTuple

from memsvc.cli.outline import Cut, Grammar, Outline, outline

TARGET = 1_000
"""Characters that a passage has at most where the text allows a cut; an encoder's window of 256 tokens."""
LEAST = 600
"""Characters from which on the best place for a cut is taken."""
SECTION = 200
"""A section shorter than this joins the next one, and a rest shorter than this the passage before it."""
WHOLE = 4_000
"""Characters up to which a passage grows to keep a code block whole; far below an entry's 64 KiB in any script."""

_BLANK_LINES = re.compile(r"(?:[^\S\n]*+\n)*+")
_SENTENCE = re.compile(r"[.!?…]['\"”’»)\]]*\s+(?=\S)|[。！？][」』”’）]*")
_WORD = re.compile(r"(?<=\S)\s++(?=\S)")
_JOINED = frozenset("\u200d\ufe0e\ufe0f")


class Piece(NamedTuple):
    """One passage of a document."""

    text: str
    """As it stands in the document; without blank lines before it and white space after it."""
    start: int
    """Its first character's offset in the document."""
    heading: tuple[str, ...]
    """The headings that hold where it begins, outermost first."""


def split(text: str, grammar: Grammar = "text") -> list[Piece]:
    """Cut a text into passages, in order; what lies between two of them is white space only.

    Passages end at a heading, or else between `LEAST` and `TARGET` characters at the best place there. The same text
    gives the same passages, and a change moves few cuts, because cutting starts afresh at headings.
    """
    plan = outline(text, grammar)
    pieces = []
    start = 0
    while start < len(text):
        start = _BLANK_LINES.match(text, start).end()  # type: ignore[union-attr]  # the pattern matches the empty string
        end = _end(text, plan, start, grammar)
        if body := text[start:end].rstrip():
            pieces.append(Piece(body, start, plan.heading_path(start)))
        start = end
    return pieces


def _end(text: str, plan: Outline, start: int, grammar: Grammar) -> int:
    """Where the passage that begins at start ends; always after start, unless start is the text's end."""
    low, high = start + LEAST, start + TARGET
    section_end = plan.first_heading(start + SECTION) or len(text)
    if section_end <= high + SECTION:
        return section_end
    for cut in (Cut.BLOCK, Cut.PARAGRAPH):
        if (end := plan.last_cut(cut, low, high)) is not None:
            return end
    literal = plan.literal_around(high)
    if literal is not None:
        if literal[1] <= start + WHOLE:
            return literal[1]
        if literal[0] >= start + SECTION:
            return literal[0]
    return (
        plan.last_cut(Cut.ITEM, low, high)
        or (_last(_SENTENCE, text, low, high) if literal is None and grammar != "source" else None)
        or plan.last_cut(Cut.LINE, low, high)
        or _last(_WORD, text, low, high)
        or _whole_character(text, low, high)
    )


def _last(pattern: re.Pattern[str], text: str, low: int, high: int) -> int | None:
    """The end of the pattern's last match in (low, high], or None."""
    ends = [match.end() for match in pattern.finditer(text, low, high + 1) if match.end() <= high]
    return ends[-1] if ends else None


def _whole_character(text: str, low: int, high: int) -> int:
    """The last place in (low, high] that parts no combining mark or joined emoji from what carries it; else high."""
    for end in range(high, low, -1):
        if not unicodedata.combining(text[end]) and text[end] not in _JOINED and text[end - 1] != "\u200d":
            return end
    return high
