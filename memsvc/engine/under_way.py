"""A record under way: some of its entries are fed to their view, and not all."""

from dataclasses import dataclass, field

from memsvc.tenant.chunk import Indexed


@dataclass(slots=True)
class UnderWay:
    """What has become of a record so far."""

    entries: list[Indexed] = field(default_factory=list)
    """Those that are fed."""
    told: list[int] = field(default_factory=list)
    """Tokens of theirs that the context memory has yet to be told."""
