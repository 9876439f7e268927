"""The settings of a tenant's memory: from keywords to a message and back."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from memsvc.v1 import types_pb2
from memsvc_client import _values
from memsvc_client.types import MemoryConfig

_GATES = MappingProxyType(
    {
        "off": types_pb2.GATE_POLICY_OFF,
        "fixed": types_pb2.GATE_POLICY_FIXED,
        "quantile": types_pb2.GATE_POLICY_QUANTILE,
    }
)
_GATE_NAMES = MappingProxyType({number: name for name, number in _GATES.items()})


def to_message(settings: Mapping[str, Any]) -> types_pb2.MemoryConfig:
    """Return the message that carries these settings and no others.

    Raises:
        InvalidArgumentError: there is no such setting, or its value is of another type; names it.
    """
    for name in settings:
        if name not in _CHECKS:
            raise _values.wrong(name, f"is no setting; there are {', '.join(_CHECKS)}")
    return types_pb2.MemoryConfig(**{name: _CHECKS[name](name, value) for name, value in settings.items()})


def from_message(message: types_pb2.MemoryConfig) -> MemoryConfig:
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
    )


def _int32(name: str, value: int) -> int:
    return _values.integer(name, value, 0, _values.MAX_INT32)


def _int64(name: str, value: int) -> int:
    return _values.integer(name, value, 0, _values.MAX_INT64)


def _gate(name: str, value: str) -> int:
    if not isinstance(value, str) or value not in _GATES:
        raise _values.wrong(name, f"must be one of {', '.join(_GATES)}")
    return _GATES[value]


_CHECKS: Mapping[str, Callable[[str, Any], Any]] = MappingProxyType(
    {
        "layers": _int32,
        "theta": _values.number,
        "eta": _values.number,
        "half_life": _values.number,
        "gate": _gate,
        "gate_value": _values.number,
        "drift": _values.boolean,
        "drift_sigma": _values.number,
        "drift_windows": _int32,
        "restart_tokens": _int64,
    }
)
