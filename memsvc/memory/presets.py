"""Named sets of settings for what a tenant remembers."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from memsvc.errors import InvalidArgumentError
from memsvc.memory.config import MemoryConfig

PRESETS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "default": {},
        "long-doc": {"layers": 8, "eta": 0.995, "theta": 1e-3, "window": 131_072},
        "genomics": {"layers": 12, "eta": 0.992, "theta": 5e-4, "window": 65_536},
        "dialogue": {"layers": 6, "eta": 0.996, "theta": 2e-3, "window": 131_072},
    }
)
"""What each changes of the default, which is what recalled best on LoCoMo and Python's manual (docs/memory.md)."""


def preset(name: str, default: MemoryConfig) -> MemoryConfig:
    """Return the default with a preset's changes.

    Raises:
        InvalidArgumentError: there is no such preset; names the field.
    """
    if name not in PRESETS:
        raise InvalidArgumentError("memory.preset", f"must be one of {', '.join(PRESETS)}")
    return MemoryConfig(**{**{field: getattr(default, field) for field in default.__slots__}, **PRESETS[name]})


def changed(config: MemoryConfig, changes: Mapping[str, Any]) -> MemoryConfig:
    """Return a living memory's settings with some changed. A change of eta alone keeps the effective step.

    Effective is theta / (1 - eta): with eta nearer to 1 each gradient acts for longer (NUMERICS.md, Which θ, η, α).

    Raises:
        InvalidArgumentError: a value is out of its range, or the depth would change; names the field.
    """
    if changes.get("layers", config.layers) != config.layers:
        raise InvalidArgumentError("memory.layers", "is fixed at creation: create another tenant of that depth")
    values = {**{field: getattr(config, field) for field in config.__slots__}, **changes}
    if "eta" in changes and "theta" not in changes and 0 <= values["eta"] < 1:
        values["theta"] = config.theta * (1 - values["eta"]) / (1 - config.eta)
    return MemoryConfig(**values)
