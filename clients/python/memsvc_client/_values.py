"""From one value of a caller's to what a message can carry. What it cannot is refused, naming the field."""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from memsvc_client.errors import InvalidArgumentError

MAX_INT32, MAX_INT64 = 2**31 - 1, 2**63 - 1


def wrong(field: str, message: str) -> InvalidArgumentError:
    """Return the error that names the field."""
    return InvalidArgumentError(f"{field}: {message}", field=field)


def string(field: str, value: str) -> str:
    """Return a text that is UTF-8."""
    if not isinstance(value, str):
        raise wrong(field, f"must be a str, not {type(value).__name__}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise wrong(field, f"has a lone surrogate at {error.start}") from None
    return value


def integer(field: str, value: int, low: int, high: int) -> int:
    """Return a whole number from low to high."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise wrong(field, f"must be a whole number of {low} or more")
    return value


def number(field: str, value: float) -> float:
    """Return a number as a double."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise wrong(field, f"must be a number, not {type(value).__name__}")
    try:
        return float(value)
    except OverflowError:
        raise wrong(field, "is larger than a double can be") from None


def boolean(field: str, value: bool) -> bool:
    """Return a truth value."""
    if not isinstance(value, bool):
        raise wrong(field, f"must be True or False, not {type(value).__name__}")
    return value


def timestamp(field: str, value: datetime | None) -> Timestamp | None:
    """Return a time that has a zone."""
    if value is None:
        return None
    if not isinstance(value, datetime):
        raise wrong(field, f"must be a datetime, not {type(value).__name__}")
    if value.utcoffset() is None:
        raise wrong(field, "has no time zone; give one, for example datetime.now(timezone.utc)")
    try:
        stamp = Timestamp()
        stamp.FromDatetime(value)
    except (ValueError, OverflowError):
        raise wrong(field, "must be in the years 1 to 9999 of UTC") from None
    return stamp


def duration(field: str, value: timedelta | float) -> Duration:
    """Return a length of time; a number is seconds."""
    if isinstance(value, bool) or not isinstance(value, timedelta | int | float):
        raise wrong(field, f"must be a timedelta or a number of seconds, not {type(value).__name__}")
    try:
        length = value if isinstance(value, timedelta) else timedelta(seconds=value)
        message = Duration()
        message.FromTimedelta(length)
    except (ValueError, OverflowError):  # NaN is the one, infinity the other
        raise wrong(field, "is longer than a duration can be") from None
    if length < timedelta(0):
        raise wrong(field, "must not be negative")
    return message


def to_json(field: str, value: Mapping[str, Any]) -> str:
    """Return the object as JSON; the empty one as an empty string."""
    if not isinstance(value, Mapping):
        raise wrong(field, f"must be a JSON object (a dict), not {type(value).__name__}")
    if not value:
        return ""
    try:
        text = json.dumps(dict(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise wrong(field, f"cannot be written as JSON: {error}") from None
    if not _has_string_keys(value):
        raise wrong(field, "must have strings for keys, as every JSON object has")
    return string(field, text)


def _has_string_keys(value: object) -> bool:
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and _has_string_keys(item) for key, item in value.items())
    return not isinstance(value, list | tuple) or all(map(_has_string_keys, value))
