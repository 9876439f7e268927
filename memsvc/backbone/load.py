"""Which backbone a name stands for."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from memsvc.backbone.base import Backbone
from memsvc.errors import InvalidArgumentError

TokensField = Literal["max_tokens", "max_completion_tokens"]
Dtype = Literal["auto", "float32", "bfloat16"]
PREFIX_BYTES = 1 << 30
KINDS = "openai:<base url>, hf:<folder or name of a model>, titans-mac:<file, folder or name of a model>"


@dataclass(frozen=True, slots=True, kw_only=True)
class BackboneConfig:
    """What generates, and how."""

    name: str
    """`openai:<base url>`, `hf:<folder or name>` or `titans-mac:<file, folder or name>`."""
    model: str = ""
    """What an OpenAI-compatible server calls the model; its only one when empty."""
    tokens_field: TokensField = "max_tokens"
    """What it calls the most tokens of an answer."""
    api_key: str = field(default="", repr=False)
    """What it is shown."""
    window: int = 0
    """Tokens that a Hugging Face model attends to at once; all that it can when 0."""
    context_tokens: int = 0
    """Tokens that recalled entries may take of a prompt unless a caller says so; 0 is what suits the model."""
    first_timeout_s: float = 60.0
    """How long a server may take to the first piece of an answer."""
    idle_timeout_s: float = 30.0
    """And from one piece to the next."""
    plain: bool = False
    """Whether a Hugging Face model without a chat template completes a single message as it is."""
    slide: bool = False
    """Whether an answer of one may go on past the window, of which the oldest tokens then leave: memory stays as it is.
    The prompt alone has to fit then."""
    dtype: Dtype = "auto"
    """Of its weights. `auto` is bfloat16 where the device computes it, else float32."""
    prefix_bytes: int = PREFIX_BYTES
    """Of what it keeps of tenants' last prompts, so that the next that begins alike costs less; 0 keeps nothing."""
    threads: int = 2
    """Of torch."""


def load_backbone(config: BackboneConfig) -> Backbone:
    """Return a backbone, still to be started.

    Raises:
        InvalidArgumentError: no such kind; names the field.
        FailedPreconditionError: its packages are not installed.
    """
    kind, _, rest = config.name.partition(":")
    # Their libraries take seconds to import, which whoever needs none should not wait for.
    if kind == "openai" and rest:
        from memsvc.backbone.openai import OpenAIBackbone  # noqa: PLC0415

        return OpenAIBackbone(config)
    if kind == "hf" and rest:
        from memsvc.backbone.hf import HuggingFaceBackbone  # noqa: PLC0415

        return HuggingFaceBackbone(config)
    if told := told_model(config.name):
        from memsvc.backbone.titans_mac.backbone import TitansMacBackbone  # noqa: PLC0415

        return TitansMacBackbone(config, told)
    raise InvalidArgumentError("backbone", f"must be one of {KINDS}")


def told_model(backbone: str) -> str:
    """Return what a titans-mac backbone was told of its model; empty for every other."""
    kind, _, rest = backbone.partition(":")
    return rest if kind == "titans-mac" else ""


def read_key(file: Path) -> str:
    """Return the key in a file.

    Raises:
        InvalidArgumentError: it cannot be read, or holds none; names the field.
    """
    try:
        key = file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise InvalidArgumentError("backbone_key_file", f"cannot be read: {why}") from error
    if not key or not key.isprintable():
        raise InvalidArgumentError("backbone_key_file", "must hold a key and nothing else")
    return key
