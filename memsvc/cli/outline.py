"""Where a document may be cut: its headings, blocks, list items, lines and code, found in one pass over its lines."""

import re
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal, NamedTuple

Grammar = Literal["markdown", "text", "source"]

MAX_HEADING = 200
"""A longer line is no heading, whatever its marks."""
PATH_DEPTH = 3
"""Headings kept in a path, the innermost ones."""

_MARKDOWN = frozenset({".md", ".markdown", ".mdown", ".mdx", ".qmd"})
_TEXT = frozenset({"", ".txt", ".text", ".rst", ".rest", ".adoc", ".asciidoc", ".org", ".tex", ".html", ".htm", ".log"})

_ATX = re.compile(r" {0,3}(#{1,6})[ \t]+(\S.*)")
_SETEXT = re.compile(r"(=|-)\1{2,}\s*")
_ADORNMENT = re.compile(r"([=\-~^\"'`#*+.:_])\1{2,}\s*")
_FENCE = re.compile(r"\s*(`{3,}|~{3,})")
_ITEM = re.compile(r"\s*(?:[-*+•]|\d{1,3}[.)])\s")


class Cut(IntEnum):
    """How good a place for a cut is; higher is better."""

    LINE = 1
    ITEM = 2
    """A list item, a line after a blank one in code, or a line after a colon and a blank one."""
    PARAGRAPH = 3
    """An indented line after a blank one, or the edge of a code block."""
    BLOCK = 4
    """A line that is not indented, after a blank one."""
    HEADING = 5


class Heading(NamedTuple):
    """A heading and the two above it, outermost first."""

    start: int
    path: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Outline:
    """The places for cuts in one text; all offsets are in characters."""

    cuts: dict[Cut, list[int]]
    """For each quality, the starts of the lines that have it, ascending."""
    headings: list[Heading]
    literals: list[tuple[int, int]]
    """Code blocks as half-open ranges, ascending."""

    def last_cut(self, cut: Cut, after: int, until: int) -> int | None:
        """The last place of this quality in (after, until], or None."""
        places = self.cuts[cut]
        index = bisect_right(places, until) - 1
        return places[index] if index >= 0 and places[index] > after else None

    def first_heading(self, start: int) -> int | None:
        """Where the first heading at or after start begins, or None."""
        places = self.cuts[Cut.HEADING]
        index = bisect_left(places, start)
        return places[index] if index < len(places) else None

    def heading_path(self, offset: int) -> tuple[str, ...]:
        """The headings that hold at this offset, outermost first."""
        index = bisect_right(self.headings, offset, key=lambda heading: heading.start) - 1
        return self.headings[index].path if index >= 0 else ()

    def literal_around(self, offset: int) -> tuple[int, int] | None:
        """The code block that has this offset inside it, its edges apart, or None."""
        index = bisect_left(self.literals, (offset, 0)) - 1
        return self.literals[index] if index >= 0 and offset < self.literals[index][1] else None


def grammar_of(suffix: str) -> Grammar:
    """How to read a file with this suffix (`.md`): its name decides, never its content."""
    suffix = suffix.lower()
    if suffix in _MARKDOWN:
        return "markdown"
    return "text" if suffix in _TEXT else "source"


def outline(text: str, grammar: Grammar) -> Outline:
    """Find the places where a text may be cut.

    Markdown has headings with `#` or underlined, and fenced code. Text has underlined headings, and code announced by
    `::` as in reStructuredText. Source has neither, and falls into blocks that begin with a line that is not indented.
    """
    return _Scan(text, grammar).run()


class _Scan:
    """One pass over the lines of a text."""

    def __init__(self, text: str, grammar: Grammar) -> None:
        self.lines = text.split("\n")
        self.starts = [0]
        for line in self.lines:
            self.starts.append(self.starts[-1] + len(line) + 1)
        self.length = len(text)
        self.grammar = grammar
        self.cuts: dict[Cut, list[int]] = {cut: [] for cut in Cut}
        self.headings: list[Heading] = []
        self.literals: list[tuple[int, int]] = []
        self.stack: list[tuple[int, str]] = []
        self.adornments: list[str] = []

    def run(self) -> Outline:
        index, blank, colon = 0, True, False
        while index < len(self.lines):
            line = self.lines[index]
            if not line.strip():
                index, blank = index + 1, True
                continue
            end = self._heading(index, blank=blank) or self._fence(index)
            if end is None:
                self._mark(self._quality(line, blank=blank, colon=colon), index)
                end = index + 1
                if self.grammar == "text" and line.rstrip().endswith("::"):
                    end = self._announced(index)
            # What follows a heading or a code block begins anew, with or without a blank line.
            blank = end > index + 1
            colon = not blank and line.rstrip().endswith(":")
            index = end
        return Outline(self.cuts, self.headings, self.literals)

    def _mark(self, cut: Cut, index: int) -> None:
        self.cuts[cut].append(self.starts[index])

    def _quality(self, line: str, *, blank: bool, colon: bool) -> Cut:
        if blank and not colon:
            return Cut.PARAGRAPH if line[0].isspace() else Cut.BLOCK
        # After a colon comes what it announces: a list, an example.
        return Cut.ITEM if blank or (not colon and self.grammar != "source" and _ITEM.match(line)) else Cut.LINE

    def _heading(self, index: int, *, blank: bool) -> int | None:
        """Take the heading that begins on this line, if one does; returns the line after it."""
        found = self._atx(index) or (self._underlined(index) if blank else None)
        if found is None:
            return None
        level, title, end = found
        self.stack = [above for above in self.stack if above[0] < level] + [(level, title)]
        self._mark(Cut.HEADING, index)
        self.headings.append(Heading(self.starts[index], tuple(name for _, name in self.stack[-PATH_DEPTH:])))
        return end

    def _atx(self, index: int) -> tuple[int, str, int] | None:
        line = self.lines[index]
        if self.grammar != "markdown" or len(line) > MAX_HEADING:
            return None
        match = _ATX.fullmatch(line.rstrip())
        return (len(match[1]), match[2].rstrip("#").strip() or match[2], index + 1) if match else None

    def _underlined(self, index: int) -> tuple[int, str, int] | None:
        if self.grammar == "source":
            return None
        over = self.grammar == "text" and self._adorns(index, "") is not None
        title_at = index + over
        under = self._adorns(title_at + 1, self._line(title_at).rstrip())
        title = self._line(title_at)
        if under is None or not title.strip() or (title[0].isspace() and not over) or len(title) > MAX_HEADING:
            return None
        if over and self._adorns(index, title.rstrip()) != under:
            return None
        if self.grammar == "markdown":
            return (1 if under == "=" else 2), title.strip(), title_at + 2
        style = under + under * over
        if style not in self.adornments:
            self.adornments.append(style)
        return self.adornments.index(style), title.strip(), title_at + 2

    def _adorns(self, index: int, title: str) -> str | None:
        """The character that this line repeats under (or over) a title, or None."""
        line = self._line(index)
        if len(line) > 2 * MAX_HEADING:
            return None
        match = (_SETEXT if self.grammar == "markdown" else _ADORNMENT).fullmatch(line)
        # reStructuredText asks for an underline as long as its title; Markdown does not.
        short = self.grammar == "text" and len(line.rstrip()) < len(title)
        return match[1] if match and not short else None

    def _line(self, index: int) -> str:
        return self.lines[index] if index < len(self.lines) else ""

    def _fence(self, index: int) -> int | None:
        """Take the fenced block that begins on this line, if one does; returns the line after it."""
        fence = _FENCE.match(self.lines[index]) if self.grammar == "markdown" else None
        if fence is None:
            return None
        end = index + 1
        while end < len(self.lines):
            line = self.lines[end].strip()
            end += 1
            if line.startswith(fence[1]) and not line.strip(fence[1][0]):
                break
        self._literal(index, end)
        return end

    def _announced(self, index: int) -> int:
        """Take the block that is indented under a line ending with `::`; returns the line after its last."""
        margin = _indent(self.lines[index])
        first = end = index + 1
        for at in range(index + 1, len(self.lines)):
            if not self.lines[at].strip():
                continue
            if _indent(self.lines[at]) <= margin:
                break
            end = at + 1
        while first < end and not self.lines[first].strip():
            first += 1
        if first < end:
            self._literal(first, end)
        return end

    def _literal(self, first: int, end: int) -> None:
        self.literals.append((self.starts[first], min(self.starts[end], self.length)))
        self._mark(Cut.PARAGRAPH, first)
        blank = False
        for at in range(first + 1, end):
            if self.lines[at].strip():
                self._mark(Cut.ITEM if blank else Cut.LINE, at)
            blank = not self.lines[at].strip()


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())
