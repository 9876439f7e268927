"""From tokens to text as they come: no half characters, and nothing of a stop string."""

from collections.abc import Callable, Sequence

UNFINISHED = "\N{REPLACEMENT CHARACTER}"
"""What the bytes of a character that is not complete yet decode to."""
LONGEST_WAIT = 8
"""Tokens that may wait for the rest of a character. The longest has four bytes; beyond that there is no rest."""


class Detokenizer:
    """Turns tokens into text, each as soon as it stands for whole characters.

    Args:
        decode: from token ids to text, without special tokens.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str]) -> None:
        self._decode = decode
        self._before: list[int] = []
        """The last tokens whose text is out. What a token decodes to may depend on those before it: a space, say."""
        self._waiting: list[int] = []

    def push(self, token: int) -> str:
        """Return the text that is new with a token; empty while a character is not complete."""
        self._waiting.append(token)
        text = self._fresh()
        if len(self._waiting) <= LONGEST_WAIT and (not text or text.endswith(UNFINISHED)):
            return ""
        self._before, self._waiting = self._waiting, []
        return text

    def finish(self) -> str:
        """Return what is left at the end; a character that never was completed is left out."""
        return self._fresh().rstrip(UNFINISHED)

    def _fresh(self) -> str:
        return self._decode(self._before + self._waiting)[len(self._decode(self._before)) :]


class Stops:
    """Lets text through up to the first of some strings, and holds back what may be the start of one.

    Args:
        stops: the strings; empty ones stop nothing.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = [stop for stop in stops if stop]
        self._held = ""

    def push(self, text: str) -> tuple[str, bool]:
        """Return the text that may go out, and whether a stop came; nothing goes out after it."""
        held = self._held + text
        found = [at for at in map(held.find, self._stops) if at >= 0]
        if found:
            return held[: min(found)], True
        keep = max((self._started(held, stop) for stop in self._stops), default=0)
        self._held = held[len(held) - keep :]
        return held[: len(held) - keep], False

    def finish(self) -> str:
        """Return what was held back: no stop came of it."""
        return self._held

    @staticmethod
    def _started(text: str, stop: str) -> int:
        """Return how many characters at the end of a text are the start of a stop."""
        longest = min(len(text), len(stop) - 1)
        return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)
