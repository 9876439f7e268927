"""What a look at a store finds: one fact, whether it is as it should be, and what to do about it. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One fact about a store."""

    name: str
    found: str
    ok: bool = True
    advice: str = ""
    """What to do where it is not as it should be; otherwise what to know."""
