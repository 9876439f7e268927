"""What a search or a listing of LangGraph's asks of values and namespaces."""

import operator
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from langgraph.store.base import MatchCondition

_ORDERS: Mapping[str, Callable[[Any, Any], bool]] = MappingProxyType(
    {"$gt": operator.gt, "$gte": operator.ge, "$lt": operator.lt, "$lte": operator.le}
)


def matches(value: Mapping[str, Any], conditions: Mapping[str, Any] | None) -> bool:
    """Whether a value satisfies all conditions: equal values, or operators, under its keys.

    Raises:
        ValueError: there is no such operator.
    """
    return all(_holds(value.get(key), wanted) for key, wanted in (conditions or {}).items())


def within(namespace: Sequence[str], condition: MatchCondition) -> bool:
    """Whether a namespace begins, or ends, with a path; `*` is any one label."""
    path = condition.path
    if len(path) > len(namespace):
        return False
    part = namespace[: len(path)] if condition.match_type == "prefix" else namespace[len(namespace) - len(path) :]
    return all(wanted in ("*", label) for wanted, label in zip(path, part, strict=True))


def _holds(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, Mapping):
        if any(name.startswith("$") for name in wanted):
            return all(_compares(value, name, operand) for name, operand in wanted.items())
        return isinstance(value, Mapping) and matches(value, wanted)
    if isinstance(wanted, list | tuple):
        same = isinstance(value, list | tuple) and len(value) == len(wanted)
        return same and all(map(_holds, value, wanted))
    return bool(value == wanted)


def _compares(value: Any, name: str, operand: Any) -> bool:
    if name == "$eq":
        return bool(value == operand)
    if name == "$ne":
        return bool(value != operand)
    if name not in _ORDERS:
        raise ValueError(f"filter: {name} is no operator; there are $eq, $ne, {', '.join(_ORDERS)}")
    try:
        return _ORDERS[name](float(value), float(operand))
    except (TypeError, ValueError):  # what is no number has no order
        return False
