"""From tokens to text as they come: no half characters."""

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
