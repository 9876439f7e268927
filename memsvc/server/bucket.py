"""A token bucket: what flows in steadily may be taken, at once or saved up as far as it fits in. Pure."""

SLACK = 1e-9
"""Part of a bucket that may be missing: who waited for as long as it was told finds enough, whatever was rounded."""


class Bucket:
    """Full at first.

    More than fits in may be taken once it is full. That leaves it owing, so that in any span of time no more is taken
    than flows in, what fits in, and what the largest single taking has beyond that.

    Args:
        rate: what flows in a second, above 0.
        capacity: what fits in, above 0.
        now: seconds, here and below of one clock. One that steps back stands still.
    """

    __slots__ = ("_at", "_capacity", "_level", "_rate")

    def __init__(self, rate: float, capacity: float, now: float) -> None:
        self._rate, self._capacity = rate, capacity
        self._level, self._at = capacity, now

    def wait(self, amount: float, now: float) -> float:
        """Return the seconds until so much may be taken; 0.0 if it may be now."""
        missing = min(amount, self._capacity) - self._filled(now)
        return missing / self._rate if missing > SLACK * self._capacity else 0.0

    def take(self, amount: float, now: float) -> None:
        """Take so much, asked before or not."""
        self._level, self._at = self._filled(now) - amount, max(self._at, now)

    def change(self, rate: float, capacity: float, now: float) -> None:
        """Let it fill at another rate, or hold more or less; what is in it stays, as far as it fits."""
        self._level, self._at = self._filled(now), max(self._at, now)
        self._rate, self._capacity = rate, capacity
        self._level = min(self._level, capacity)

    def _filled(self, now: float) -> float:
        return min(self._capacity, self._level + self._rate * max(0.0, now - self._at))
