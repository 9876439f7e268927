"""A language model of Hugging Face and its tokenizer, from this machine's disk."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch

from memsvc.backbone.load import Dtype
from memsvc.errors import FailedPreconditionError

# Nothing is fetched. The library reads this once, when it is imported.
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import transformers  # isort: skip

MAX_WINDOW = 131_072
"""Tokens that a model attends to at most, whatever it allows."""

ALIKE = 0.05
"""Most that rounding changes of logits, by length."""


class Model(NamedTuple):
    """What was loaded."""

    tokenizer: Any
    module: Any
    """In evaluation mode, on its device."""
    device: torch.device
    positions: int
    """Tokens that it was made for at most; MAX_WINDOW where it does not say."""
    ends: frozenset[int]
    """Tokens that end an answer."""


def load(name: str, dtype: Dtype) -> Model:
    """Load a model, on the GPU when there is one.

    Args:
        name: `hf:` and a folder, or the name of a model that has been downloaded.
        dtype: of the weights. `auto` is bfloat16 where the device computes it, else float32.

    Raises:
        FailedPreconditionError: it is not here, is damaged or does not generate text, or the device has no bfloat16.
    """
    source = name.removeprefix("hf:")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind = _choose_dtype(dtype, device)
    if not Path(source).is_dir() and Path(source).is_absolute():
        raise refusal(name, "is not here: no such folder")
    try:
        with _quiet():
            options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
            tokenizer = transformers.AutoTokenizer.from_pretrained(source, **options)
            # Typed without its loading info.
            causal: Any = transformers.AutoModelForCausalLM
            module, info = causal.from_pretrained(
                source, dtype=kind, use_safetensors=True, output_loading_info=True, **options
            )
    except Exception as error:  # transformers, tokenizers and safetensors raise anything over a damaged folder
        raise refusal(
            name,
            "is not here, is damaged, or transformers loads no text generation from it: give the folder of a model "
            f"with safetensors and tokenizer.json, or download it first ({type(error).__name__})",
        ) from error
    if missing := sorted(info["missing_keys"]):
        raise refusal(name, f"lacks weights: {', '.join(missing[:3])}")
    if not tokenizer.is_fast:
        raise refusal(name, "has no fast tokenizer (tokenizer.json)")
    try:
        module = module.eval().to(device)
    except torch.OutOfMemoryError as error:
        raise refusal(name, "does not fit the GPU's memory") from error
    _try(name, module, device)
    return Model(tokenizer, module, device, _positions(module), _ends(tokenizer, module))


def refusal(name: str, why: str, reason: str | None = None) -> FailedPreconditionError:
    """Return the error that says why a model does not serve."""
    return FailedPreconditionError(f"backbone: the model {name} {why}", reason=reason, metadata={"field": "backbone"})


def slides(config: Any) -> bool:
    """Whether a model knows positions by their distance alone, so that it can go on past the last it was made for."""
    rope = getattr(config.get_text_config(decoder=True), "rope_parameters", None)
    if not rope:
        return False
    kinds = [part for part in rope.values() if isinstance(part, dict)] or [rope]
    return {kind.get("rope_type", "default") for kind in kinds}.isdisjoint({"dynamic", "longrope"})


def _choose_dtype(dtype: Dtype, device: torch.device) -> torch.dtype:
    if device.type == "cuda":
        supported = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        # Without the instructions it is several times slower than float32. AMX comes with them.
        supported = torch.cpu._is_avx512_bf16_supported()
    if dtype == "bfloat16" and not supported:
        raise FailedPreconditionError("backbone: this device does not compute bfloat16: choose float32 or auto")
    return torch.bfloat16 if supported and dtype != "float32" else torch.float32


def _try(name: str, module: Any, device: torch.device) -> None:
    """Compute something: not all that loads is a model that generates."""
    ids = torch.tensor([[0, 1]], device=device)
    cache = transformers.DynamicCache(config=module.config)
    try:
        with torch.inference_mode():
            first = module(ids[:, :1], past_key_values=cache, use_cache=True).logits[0, 0].float()
            # The same with a second token after it, unless a model looks ahead.
            again = module(ids).logits[0, 0].float()
    except (RuntimeError, ValueError, TypeError, IndexError, KeyError, AttributeError) as error:
        raise refusal(name, "does not generate text") from error
    if cache.get_seq_length() != 1 or (again - first).norm() > ALIKE * first.norm():
        raise refusal(name, "does not generate text token by token")


def _positions(module: Any) -> int:
    config = module.config.get_text_config(decoder=True)
    return int(getattr(config, "max_position_embeddings", None) or MAX_WINDOW)


def _ends(tokenizer: Any, module: Any) -> frozenset[int]:
    said = getattr(module.generation_config, "eos_token_id", None)
    ends = said if isinstance(said, list) else [said]
    return frozenset({*ends, tokenizer.eos_token_id} - {None})


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the library's progress bars and loading reports off the terminal."""
    logging: Any = transformers.utils.logging
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
