"""Which entries a recall or a listing looks at."""

from dataclasses import dataclass

from memsvc.errors import InvalidArgumentError
from memsvc.limits import MAX_METADATA_BYTES
from memsvc.recall.metadata import Condition, parse_conditions, parse_object, value_of


@dataclass(frozen=True, slots=True)
class Filter:
    """Conditions that hold at once. None means any."""

    session: str | None = None
    role: str | None = None
    after_us: int | None = None
    """The earliest time, inclusive, in microseconds since the epoch."""
    before_us: int | None = None
    """The end of the times, exclusive."""
    metadata: tuple[Condition, ...] = ()

    @classmethod
    def parse(
        cls,
        session: str | None = None,
        role: str | None = None,
        after_us: int | None = None,
        before_us: int | None = None,
        metadata_json: str = "",
    ) -> "Filter":
        """Make a filter from the fields of a request.

        Raises:
            InvalidArgumentError: `filter.metadata_json` is not an object of conditions.
        """
        field = "filter.metadata_json"
        if len(metadata_json) > MAX_METADATA_BYTES or len(metadata_json.encode()) > MAX_METADATA_BYTES:
            raise InvalidArgumentError(field, f"must be at most {MAX_METADATA_BYTES} bytes")
        return cls(session, role, after_us, before_us, parse_conditions(metadata_json, field))

    def matches(self, session: str, role: str, time_us: int, metadata_json: str) -> bool:
        """Whether an entry matches.

        Raises:
            InvalidArgumentError: the entry's metadata is not a JSON object.
        """
        if self.session not in {None, session} or self.role not in {None, role}:
            return False
        if self.after_us is not None and time_us < self.after_us:
            return False
        if self.before_us is not None and time_us >= self.before_us:
            return False
        if not self.metadata:
            return True
        values = parse_object(metadata_json, "metadata_json")
        return all(c.holds(value_of(values[c.key]) if c.key in values else None) for c in self.metadata)
