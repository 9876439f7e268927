"""Metadata as a filter sees it: JSON values with an exact idea of type and equality, and conditions on them."""

import json
import operator
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, NoReturn

from memsvc.errors import InvalidArgumentError

MAX_DEPTH = 64
"""Levels of nesting of a metadata object, itself included."""


class Value(NamedTuple):
    """A JSON value that compares as JSON does: 1 equals 1.0, neither equals true, and objects have no order."""

    kind: str
    """null, boolean, number, string, array or object."""
    content: Any
    """Hashable."""

    def __hash__(self) -> int:
        # Python's own hash of a number is no secret: from many of one hash a table would take the square of the time.
        return hash((self.kind, _spelled(self.content) if self.kind == "number" else self.content))


def parse_object(text: str, field: str) -> dict[str, Any]:
    """Parse a JSON object; empty text is an empty object.

    Raises:
        InvalidArgumentError: it is not a JSON object, or nested deeper than MAX_DEPTH; names the field.
    """
    if not text:
        return {}
    try:
        parsed = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise InvalidArgumentError(field, "must be a JSON object") from error
    if not isinstance(parsed, dict):
        raise InvalidArgumentError(field, "must be a JSON object")
    level: list[Any] = [parsed]
    for _ in range(MAX_DEPTH):
        level = [item for value in level if isinstance(value, dict | list) for item in _items(value)]
        if not level:
            return parsed
    raise InvalidArgumentError(field, f"must not be nested deeper than {MAX_DEPTH} levels")


def value_of(parsed: Any) -> Value:
    """Return what a parsed JSON value compares as."""
    match parsed:
        case None:
            return Value("null", None)
        case bool():
            return Value("boolean", parsed)
        case int() | float():
            return Value("number", parsed)
        case str():
            return Value("string", parsed)
        case list():
            return Value("array", tuple(map(value_of, parsed)))
        case dict():
            return Value("object", frozenset((key, value_of(value)) for key, value in parsed.items()))
    raise TypeError(f"{type(parsed).__name__} is no JSON value")


class Condition(NamedTuple):
    """One condition on the value of one top-level key."""

    key: str
    operator: str
    """$eq, $ne, $gt, $gte, $lt or $lte."""
    operand: Value

    def holds(self, value: Value | None) -> bool:
        """Whether an entry with this value under the key matches; None for an entry without the key.

        `$ne` is what `$eq` is not. Two numbers have an order, and so have two strings (by code point); between anything
        else no order holds.
        """
        return self.operator == "$ne" if value is None else self.hold([value])[0]

    def hold(self, values: Iterable[Value]) -> list[bool]:
        """Return `holds` of each value."""
        wanted, compare = self.operand, self.compare
        if self.operator in {"$eq", "$ne"}:
            return [compare(value, wanted) for value in values]
        ordered = wanted.kind if wanted.kind in {"number", "string"} else None
        return [kind == ordered and compare(content, wanted.content) for kind, content in values]

    @property
    def compare(self) -> Callable[[Any, Any], Any]:
        """The operator as a function of two values, or of an array and one."""
        return _COMPARE[self.operator]


def parse_conditions(text: str, field: str) -> tuple[Condition, ...]:
    """Parse `{"key": value, "key": {"$op": value, ...}, ...}`; all conditions must hold.

    Raises:
        InvalidArgumentError: it is not such an object; names the field.
    """
    conditions = []
    for key, wanted in parse_object(text, field).items():
        if key.startswith("$"):
            raise InvalidArgumentError(field, "operators stand under a metadata key; all conditions are joined by and")
        names = list(wanted) if isinstance(wanted, dict) else []
        if not any(name.startswith("$") for name in names):
            conditions.append(Condition(key, "$eq", value_of(wanted)))
        elif all(name in _COMPARE for name in names):
            conditions += [Condition(key, name, value_of(operand)) for name, operand in wanted.items()]
        else:
            raise InvalidArgumentError(field, f"the operators are {' '.join(_COMPARE)}")
    return tuple(conditions)


_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "$eq": operator.eq,
    "$ne": operator.ne,
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
}


def _spelled(number: float) -> str:
    """Return a number as text: equal ones alike."""
    whole = isinstance(number, int) or number.is_integer()
    return hex(int(number)) if whole else number.hex()


def _items(value: dict[str, Any] | list[Any]) -> list[Any]:
    return list(value.values()) if isinstance(value, dict) else value


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
