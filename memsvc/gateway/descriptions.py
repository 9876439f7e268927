"""What the comments in the API's definition say, by the full names of what they are about."""

from collections.abc import Iterator, Mapping, Sequence
from importlib import resources

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    ServiceDescriptorProto,
)

# Numbers of fields in descriptor.proto, of which the paths to what is commented are made.
_MESSAGE, _FIELD = FileDescriptorProto.MESSAGE_TYPE_FIELD_NUMBER, DescriptorProto.FIELD_FIELD_NUMBER
_SERVICE, _METHOD = FileDescriptorProto.SERVICE_FIELD_NUMBER, ServiceDescriptorProto.METHOD_FIELD_NUMBER


def descriptions() -> Mapping[str, str]:
    """Return them, each in one line."""
    files = FileDescriptorSet.FromString(resources.files("memsvc.v1").joinpath("api.binpb").read_bytes())
    return dict(pair for file in files.file for pair in _of(file))


def _of(file: FileDescriptorProto) -> Iterator[tuple[str, str]]:
    said = {tuple(at.path): " ".join(at.leading_comments.split()) for at in file.source_code_info.location}
    for name, path in _named(file):
        if text := said.get(tuple(path)):
            yield f"{file.package}.{name}", text


def _named(file: FileDescriptorProto) -> Iterator[tuple[str, Sequence[int]]]:
    for i, message in enumerate(file.message_type):
        yield message.name, (_MESSAGE, i)
        for j, field in enumerate(message.field):
            yield f"{message.name}.{field.name}", (_MESSAGE, i, _FIELD, j)
    for i, service in enumerate(file.service):
        for j, method in enumerate(service.method):
            yield f"{service.name}.{method.name}", (_SERVICE, i, _METHOD, j)
