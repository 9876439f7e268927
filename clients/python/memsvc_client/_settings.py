"""The settings of a tenant, of its memory and of what it keeps: from keywords to a message and back."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from memsvc.v1 import types_pb2
from memsvc_client import _values
from memsvc_client.types import MemoryConfig, Policies

_GATES = MappingProxyType(
    {
        "off": types_pb2.GATE_POLICY_OFF,
        "fixed": types_pb2.GATE_POLICY_FIXED,
        "quantile": types_pb2.GATE_POLICY_QUANTILE,
    }
)
_GATE_NAMES = MappingProxyType({number: name for name, number in _GATES.items()})
_SNAPSHOTS = MappingProxyType(
    {
        "none": types_pb2.SNAPSHOT_RETENTION_NONE,
        "log_spaced": types_pb2.SNAPSHOT_RETENTION_LOG_SPACED,
        "all": types_pb2.SNAPSHOT_RETENTION_ALL,
    }
)
_SNAPSHOT_NAMES = MappingProxyType({number: name for name, number in _SNAPSHOTS.items()})
_DUPLICATES = MappingProxyType(
    {
        "keep": types_pb2.DUPLICATE_POLICY_KEEP,
        "merge": types_pb2.DUPLICATE_POLICY_MERGE,
    }
)
_DUPLICATE_NAMES = MappingProxyType({number: name for name, number in _DUPLICATES.items()})


def fill(message: types_pb2.Tenant, settings: Mapping[str, Any]) -> list[str]:
    """Set these settings, and no others, in a tenant's message; return their paths there, in order.

    Raises:
        InvalidArgumentError: there is no such setting, or its value is of another type; names it.
    """
    for name in settings:
        if name not in _MEMORY and name not in _POLICIES:
            raise _values.wrong(name, f"is no setting; there are {', '.join((*_MEMORY, *_POLICIES))}")
    memory = {name: _MEMORY[name](name, value) for name, value in settings.items() if name in _MEMORY}
    policies = {name: _POLICIES[name](name, value) for name, value in settings.items() if name in _POLICIES}
    if memory:
        message.memory.MergeFrom(types_pb2.MemoryConfig(**memory))
    if policies:
        message.policies.MergeFrom(types_pb2.Policies(**policies))
    return [f"{'memory' if name in memory else 'policies'}.{name}" for name in settings]


def policies(message: types_pb2.Policies) -> Policies:
    """Return the policies that a message carries, None for the others."""
    return Policies(
        max_entries=message.max_entries if message.HasField("max_entries") else None,
        ttl=message.ttl.ToTimedelta() if message.HasField("ttl") else None,
        snapshots=_SNAPSHOT_NAMES.get(message.snapshots),
        duplicates=_DUPLICATE_NAMES.get(message.duplicates),
    )


def memory(message: types_pb2.MemoryConfig) -> MemoryConfig:
    """Return the settings that a message carries, None for the others."""

    def given(name: str) -> Any:
        return getattr(message, name) if message.HasField(name) else None  # type: ignore[arg-type]  # a literal in the stubs

    return MemoryConfig(
        layers=given("layers"),
        theta=given("theta"),
        eta=given("eta"),
        half_life=given("half_life"),
        gate=_GATE_NAMES.get(message.gate),
        gate_value=given("gate_value"),
        drift=given("drift"),
        drift_sigma=given("drift_sigma"),
        drift_windows=given("drift_windows"),
        restart_tokens=given("restart_tokens"),
        window=given("window"),
    )


def _int32(name: str, value: int) -> int:
    return _values.integer(name, value, 0, _values.MAX_INT32)


def _int64(name: str, value: int) -> int:
    return _values.integer(name, value, 0, _values.MAX_INT64)


def _one_of(choices: Mapping[str, int]) -> Callable[[str, Any], int]:
    def check(name: str, value: Any) -> int:
        if not isinstance(value, str) or value not in choices:
            raise _values.wrong(name, f"must be one of {', '.join(choices)}")
        return choices[value]

    return check


_MEMORY: Mapping[str, Callable[[str, Any], Any]] = MappingProxyType(
    {
        "layers": _int32,
        "theta": _values.number,
        "eta": _values.number,
        "half_life": _values.number,
        "gate": _one_of(_GATES),
        "gate_value": _values.number,
        "drift": _values.boolean,
        "drift_sigma": _values.number,
        "drift_windows": _int32,
        "restart_tokens": _int64,
        "window": _int32,
    }
)

_POLICIES: Mapping[str, Callable[[str, Any], Any]] = MappingProxyType(
    {
        "max_entries": _int64,
        "ttl": _values.duration,
        "snapshots": _one_of(_SNAPSHOTS),
        "duplicates": _one_of(_DUPLICATES),
    }
)
