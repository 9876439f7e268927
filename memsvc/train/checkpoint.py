"""Where a training stands: model, optimizer, step; one safetensors file, its numbers as JSON in the header."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

_KEY = "memsvc-train"
_MODEL, _OPTIMIZER = "model.", "optimizer."


class Progress(NamedTuple):
    """How far it is. What is drawn at a step depends on the seed and on this alone: there is no generator to keep."""

    stage: int
    step: int
    """Steps done of that stage."""


def save(
    path: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer, progress: Progress, plan: Mapping[str, Any]
) -> None:
    """Write it; the file is whole or not there.

    Args:
        path: of the file.
        model: its parameters.
        optimizer: its moments.
        progress: how far it is.
        plan: what the training was asked for; `load` gives it back.
    """
    tensors = {f"{_MODEL}{name}": tensor for name, tensor in model.state_dict().items()}
    for index, values in optimizer.state_dict()["state"].items():
        tensors |= {f"{_OPTIMIZER}{index}.{name}": torch.as_tensor(value) for name, value in values.items()}
    header = json.dumps({"progress": progress._asdict(), "plan": plan}, sort_keys=True)
    partial = path.with_name(f"{path.name}.partial")
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, partial, {_KEY: header})
    os.replace(partial, path)


class Kept(NamedTuple):
    """What a file holds."""

    model: dict[str, Tensor]
    optimizer: dict[int, dict[str, Tensor]]
    """Moments and steps, by the parameter's number."""
    progress: Progress
    plan: Mapping[str, Any]


def load(path: Path) -> Kept:
    """Read it.

    Raises:
        ValueError: it is no checkpoint of a training, or damaged.
    """
    try:
        with safe_open(path, "pt") as file:
            header = json.loads((file.metadata() or {}).get(_KEY, "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # it is no mapping
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged: {error}; without it the training begins anew") from error
    if "progress" not in header:
        raise ValueError(f"{path} is no checkpoint of memsvc-train")
    optimizer: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith(_OPTIMIZER):
            index, field = name.removeprefix(_OPTIMIZER).split(".")
            optimizer.setdefault(int(index), {})[field] = tensor
    model = {name.removeprefix(_MODEL): tensor for name, tensor in tensors.items() if name.startswith(_MODEL)}
    return Kept(model, optimizer, Progress(**header["progress"]), header["plan"])
