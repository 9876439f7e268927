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
        self._known = 0
        """Characters of what they decode to that are out."""
        self._waiting: list[int] = []

    def push(self, token: int) -> str:
        """Return the text that is new with a token, up to a character that is not complete; empty while there is none.

        A token may complete one character and begin the next, and so may all that follow it.
        """
        self._waiting.append(token)
        text = self._fresh()
        whole = text.rstrip(UNFINISHED)
        if not whole:
            if len(self._waiting) <= LONGEST_WAIT:
                return ""
            whole = text
        self._before, self._waiting = self._waiting, []
        self._known = len(self._decode(self._before)) - (len(text) - len(whole))
        return whole

    def finish(self) -> str:
        """Return what is left at the end; a character that never was completed is left out."""
        return self._fresh().rstrip(UNFINISHED)

    def _fresh(self) -> str:
        return self._decode(self._before + self._waiting)[self._known :]
