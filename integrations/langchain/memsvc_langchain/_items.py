"""A LangGraph item as an entry, and back.

The namespace's labels are fields of the metadata, one each: a filter on them matches whole labels, whatever they are.
An item's session is its own, so that no other item lends it context in a recall.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from langgraph.store.base import Item, PutOp, SearchItem, get_text_at_path, tokenize_path
from memsvc_client import Entry, StoredEntry

ROLE = "item"
"""Of every entry that is an item: a tenant may hold others too."""


def namespace_label(text: str) -> str:
    """Return any text, such as an e-mail address, as a label: LangGraph takes none that has a dot."""
    return text.replace("%", "%25").replace(".", "%2E")


def session(namespace: tuple[str, ...], key: str) -> str:
    """Return what an item's entries have in common, and no other's."""
    return hashlib.sha256(json.dumps([*namespace, key]).encode()).hexdigest()


def id(namespace: tuple[str, ...], key: str, place: int) -> str:
    """Return one of the ids that an item has in turn, each after the one before is gone."""
    return f"{session(namespace, key)}.{place}"


def under(prefix: Sequence[str]) -> dict[str, Any]:
    """Return the filter for the items whose namespace begins with these labels."""
    return {f"namespace{i}": label for i, label in enumerate(prefix)}


def entry(op: PutOp, fields: Sequence[str] | None, *, learn: bool) -> Entry:
    """Return the entry for an item that is put.

    Its text is its value as JSON or, where only some fields are to be searched, the text of those.

    Args:
        op: what is put; its value is not None.
        fields: the paths to search where the operation names none; None for all of the value.
        learn: whether the memory learns the text.

    Raises:
        TypeError: the value is no JSON object.
    """
    if not isinstance(op.value, Mapping):
        raise TypeError(f"value: must be a JSON object (a dict), not {type(op.value).__name__}")
    value, now = json.dumps(dict(op.value), ensure_ascii=False, allow_nan=False), datetime.now(UTC)
    paths = fields if op.index is None else op.index
    texts = [text for path in paths or () for text in get_text_at_path(op.value, tokenize_path(path)) if text.strip()]
    searched = bool(texts) or paths is None
    return Entry(
        "\n".join(texts) or value,
        session=session(op.namespace, op.key),
        role=ROLE,
        time=now,
        metadata={
            "namespace": list(op.namespace),
            "key": op.key,
            "updated": now.isoformat(),
            "searched": searched,
            **under(op.namespace),
            **({"value": value} if texts else {}),
        },
        learn=learn,
        expire=None if op.ttl is None else now + timedelta(minutes=op.ttl),
    )


def item(stored: StoredEntry) -> Item:
    """Return the item that an entry is."""
    return Item(**_fields(stored))


def found(stored: StoredEntry, score: float | None) -> SearchItem:
    """Return an entry as a search's result; without a score where there was no query."""
    return SearchItem(**_fields(stored), score=score)


def namespace(stored: StoredEntry) -> tuple[str, ...]:
    """Return where an item is."""
    return tuple(stored.metadata["namespace"])


def value(stored: StoredEntry) -> dict[str, Any]:
    """Return an item's value."""
    parsed: dict[str, Any] = json.loads(stored.metadata.get("value", stored.text))
    return parsed


def lives(stored: StoredEntry) -> bool:
    """Whether it has not expired: the server hides what has within seconds, a reader at once."""
    return stored.expire is None or stored.expire > datetime.now(UTC)


def _fields(stored: StoredEntry) -> dict[str, Any]:
    return {
        "namespace": namespace(stored),
        "key": stored.metadata["key"],
        "value": value(stored),
        "created_at": stored.time,
        "updated_at": datetime.fromisoformat(stored.metadata["updated"]),
    }
