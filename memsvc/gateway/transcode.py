"""From the parts of an HTTP request to the call's message, and from messages to JSON; by protobuf's own mapping."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from memsvc.errors import InvalidArgumentError
from memsvc.gateway import routes
from memsvc.gateway.routes import WHOLE, Route

MOST_OBJECTS = 2_048
"""JSON objects in a body. No valid request has more, and each takes ten microseconds to convert."""
_AT = re.compile(r' at "?\w+\.([\w.\[\]]+)')
_IN = re.compile(r"Failed to parse (\w+) field")
_SNAKE = re.compile(r"_([a-z])")


def request(route: Route, path: Mapping[str, str], query: Sequence[tuple[str, str]], body: bytes) -> Message:
    """Return the message of a call.

    Args:
        route: which call.
        path: the names in the path and what stands there, decoded.
        query: the query's names and values, decoded.
        body: JSON; empty where the route takes none.

    Raises:
        InvalidArgumentError: a part cannot be read; names the field as JSON does.
    """
    message = routes.new(route.asks)
    _merge(message, _nested(route, query))
    if route.body:
        part = message if route.body == WHOLE else getattr(message, route.body)
        part.SetInParent()
        _merge(part, _parsed(body), prefix="" if route.body == WHOLE else f"{route.body}.")
    elif body:
        raise InvalidArgumentError("body", f"{route.verb} takes none here")
    for name, value in path.items():
        _place(message, route.place(name), value)
    return message


def to_json(message: Message) -> bytes:
    """Return a message as JSON in UTF-8; fields that cannot be absent are there, whatever they are."""
    found = json_format.MessageToDict(message, always_print_fields_with_no_presence=True)
    return json.dumps(found, ensure_ascii=False, separators=(",", ":")).encode()


def json_path(path: str) -> str:
    """Return the path of a field as JSON has it: `entries[3].metadataJson`."""
    return _SNAKE.sub(lambda found: found[1].upper(), path)


def _parsed(body: bytes) -> Any:
    objects = 0

    def checked(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal objects
        objects += 1
        if objects > MOST_OBJECTS:
            raise ValueError(f"has more than {MOST_OBJECTS} objects")
        found = dict(pairs)
        if len(found) < len(pairs):
            raise ValueError("names a field twice in one object")
        return found

    try:
        value = json.loads(body or b"{}", object_pairs_hook=checked)
    except (ValueError, RecursionError) as error:
        raise InvalidArgumentError("body", f"is no JSON that can be read: {error}") from None
    if not isinstance(value, dict):
        raise InvalidArgumentError("body", "must be a JSON object")
    return value


def _merge(message: Message, value: dict[str, Any], prefix: str = "") -> None:
    try:
        json_format.ParseDict(value, message, max_recursion_depth=16)
    except (json_format.ParseError, UnicodeError, OverflowError, RecursionError) as error:
        # What it repeats of the body may have half of a surrogate pair, which no answer can.
        said = str(error).partition("\n")[0].encode(errors="replace").decode()
        at = _AT.search(said)
        field = at[1].rstrip(".") if at else ".".join(_IN.findall(said))
        raise InvalidArgumentError(prefix + field if field else "body", said[:300]) from None
    except SystemError:  # protobuf's core looks such a name up, and has no better word for it
        raise InvalidArgumentError("body", "has a name that is not UTF-8") from None


def _nested(route: Route, query: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Return the query as JSON has it: `filter.session=a` is an object in an object."""
    found: dict[str, Any] = {}
    taken = () if route.body == WHOLE else query
    if query and not taken:
        raise InvalidArgumentError(query[0][0], "is not taken from the query: the body has the whole request")
    for name, text in taken:
        kind, inner = route.asks, found
        *above, last = name.split(".")
        for each in above:
            into = _field(kind, each)
            if into is None or into.message_type is None or each == route.body:
                raise InvalidArgumentError(name, "is no field of this request")
            kind, inner = into.message_type, inner.setdefault(each, {})
        of = _field(kind, last)
        if of is None or of.is_repeated or (last == route.body and not above):
            raise InvalidArgumentError(name, "is no field that a query can set here")
        if last in inner:
            raise InvalidArgumentError(name, "is given twice")
        inner[last] = _value(name, of, text)
    return found


def _field(kind: Any, name: str) -> FieldDescriptor | None:
    return next((each for each in kind.fields if name in (each.json_name, each.name)), None)


def _value(name: str, field: FieldDescriptor, text: str) -> Any:
    if field.type != FieldDescriptor.TYPE_BOOL:
        return text
    if text not in ("true", "false"):
        raise InvalidArgumentError(name, "must be true or false")
    return text == "true"


def _place(message: Any, path: str, value: str) -> None:
    """Set what the path of the URL says; what the body says of it too must be the same."""
    *above, last = path.split(".")
    for name in above:
        message = getattr(message, name)
    if getattr(message, last) not in ("", value):
        raise InvalidArgumentError(json_path(path), "is another one in the URL's path")
    try:
        setattr(message, last, value)
    except UnicodeError:
        raise InvalidArgumentError(json_path(path), "must be UTF-8") from None
