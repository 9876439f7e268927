"""A model as one file: safetensors, with the configuration, the tokenizer and the model card's facts in its header."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from tokenizers import Tokenizer

from memsvc.backbone.titans_mac.config import MacConfig
from memsvc.backbone.titans_mac.model import TitansMac
from memsvc.errors import FailedPreconditionError, InvalidArgumentError

_KEY, _FORMAT = "titans-mac", 1


class Loaded(NamedTuple):
    """What a file holds."""

    model: TitansMac
    """Ready to serve: no gradients, the gate hard."""
    tokenizer: Tokenizer
    card: Mapping[str, Any]
    """What was said of it when it was saved."""
    digest: str
    """SHA-256 of the file, in hexadecimal: what the model is called by."""


def save(path: Path, model: TitansMac, tokenizer: Tokenizer, card: Mapping[str, Any]) -> None:
    """Write a model; the file is whole or not there."""
    header = {
        "format": _FORMAT,
        "config": model.config.to_json(),
        "tokenizer": json.loads(tokenizer.to_str()),
        "card": dict(card),
    }
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    partial = path.with_name(f"{path.name}.partial")
    save_file(tensors, partial, {_KEY: json.dumps(header, sort_keys=True)})
    os.replace(partial, path)


def load(path: Path) -> Loaded:
    """Read a model.

    Raises:
        FailedPreconditionError: there is no such file, or it holds no model that this version can run.
    """
    try:
        with safe_open(path, "pt") as file:
            header = json.loads((file.metadata() or {})[_KEY])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # it is no mapping
        if header["format"] != _FORMAT:
            raise FailedPreconditionError(f"{path} has format {header['format']}, this version reads {_FORMAT}")
        model = TitansMac(MacConfig.from_json(header["config"]))
        model.load_state_dict(tensors)
        tokenizer = Tokenizer.from_str(json.dumps(header["tokenizer"]))
    except FileNotFoundError as error:
        raise FailedPreconditionError(f"there is no model at {path}") from error
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError, InvalidArgumentError) as error:
        # load_state_dict raises RuntimeError where names or shapes do not fit.
        raise FailedPreconditionError(f"{path} is no titans-mac model: {error}") from error
    model.eval().requires_grad_(requires_grad=False)
    return Loaded(model, tokenizer, header["card"], hashlib.sha256(path.read_bytes()).hexdigest())
