"""Messages as JSON schemas, by protobuf's JSON mapping."""

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any, TypeAlias

from google.protobuf.descriptor import Descriptor, FieldDescriptor

Schema: TypeAlias = dict[str, Any]

_SCALARS: Mapping[int, Mapping[str, str]] = MappingProxyType(
    {
        FieldDescriptor.TYPE_STRING: {"type": "string"},
        FieldDescriptor.TYPE_BOOL: {"type": "boolean"},
        FieldDescriptor.TYPE_INT32: {"type": "integer", "format": "int32"},
        FieldDescriptor.TYPE_INT64: {"type": "string", "format": "int64"},
        FieldDescriptor.TYPE_FLOAT: {"type": "number", "format": "float"},
        FieldDescriptor.TYPE_DOUBLE: {"type": "number", "format": "double"},
    }
)
_KNOWN: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
        "google.protobuf.Duration": {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]{1,9})?s$"},
        "google.protobuf.FieldMask": {"type": "string"},
        "google.protobuf.Empty": {"type": "object"},
    }
)
_OUT, _IN = "Output only.", "Input only"


class Schemas:
    """Makes them, and keeps those that others refer to.

    Args:
        descriptions: by full names.
    """

    def __init__(self, descriptions: Mapping[str, str]) -> None:
        self._descriptions = descriptions
        self.components: dict[str, Schema] = {}

    def of(self, kind: Descriptor) -> Schema:
        """Return the schema of a message: one that everybody knows, or a reference to a component."""
        if kind.full_name in _KNOWN:
            return dict(_KNOWN[kind.full_name])
        if kind.name not in self.components:
            self.components[kind.name] = {}  # it may hold itself
            self.components[kind.name] = self.whole(kind)
        return {"$ref": f"#/components/schemas/{kind.name}"}

    def whole(self, kind: Descriptor, without: Collection[str] = ()) -> Schema:
        """Return the schema of a message itself, less some fields."""
        fields = [field for field in kind.fields if field.name not in without]
        return {
            "type": "object",
            "description": self._descriptions.get(kind.full_name, ""),
            "properties": {field.json_name: self.field(field) for field in fields},
            "additionalProperties": False,
        }

    def field(self, field: FieldDescriptor) -> Schema:
        """Return the schema of a field."""
        said = self._descriptions.get(field.full_name, "")
        found: Schema = {"description": said} if said else {}
        if said.startswith(_OUT):
            found["readOnly"] = True
        if said.startswith(_IN):
            found["writeOnly"] = True
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            return {
                **found,
                "type": "object",
                "additionalProperties": self._one(field.message_type.fields_by_name["value"]),
            }
        one = self._one(field)
        return {**found, **({"type": "array", "items": one} if field.is_repeated else one)}

    def _one(self, field: FieldDescriptor) -> Schema:
        if field.message_type is not None:
            return self.of(field.message_type)
        if field.enum_type is not None:
            return {"type": "string", "enum": [value.name for value in field.enum_type.values]}
        return dict(_SCALARS[field.type])
