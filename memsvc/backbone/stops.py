"""Where an answer ends, however it comes in parts: nothing of a stop goes out."""

from collections.abc import Sequence


class Stops:
    """Lets text through up to the first of the stops, however it is cut into parts.

    What may be the beginning of a stop is held back until it is clear.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = [stop for stop in stops if stop]
        self._held = ""
        self.hit = False
        """Whether one came: there is no more text."""

    def feed(self, part: str) -> str:
        """Return what can be let through when a part comes."""
        text = self._held + part
        open_at = self._open_at(text)
        found_at = self._found_at(text)
        # One that began before the one found, and is not complete, decides where the text ends.
        if found_at <= open_at and found_at < len(text):
            self.hit, self._held = True, ""
            return text[:found_at]
        self._held = text[open_at:]
        return text[:open_at]

    def finish(self) -> str:
        """Return what was held back when no more comes."""
        text, self._held = self._held, ""
        found_at = self._found_at(text)
        self.hit = self.hit or found_at < len(text)
        return text[:found_at]

    def _found_at(self, text: str) -> int:
        """Return where the first stop begins; the text's length where there is none."""
        return min((at for stop in self._stops if (at := text.find(stop)) >= 0), default=len(text))

    def _open_at(self, text: str) -> int:
        """Return where the first begins of which the text has the front alone; its length where there is none."""
        longest = max(map(len, self._stops), default=0)
        for at in range(max(0, len(text) - longest + 1), len(text)):
            rest = text[at:]
            if any(len(rest) < len(stop) and stop.startswith(rest) for stop in self._stops):
                return at
        return len(text)
