"""What an encoder promises, and how to get one by name."""

from collections.abc import Sequence
from typing import Protocol

from memsvc.dtypes import Dtype
from memsvc.errors import InvalidArgumentError
from memsvc.recall.kmer import KmerEncoder
from memsvc.recall.passages import Encoded, Passage, Split

__all__ = ["Dtype", "Encoded", "Encoder", "Passage", "Split", "load_encoder"]


class Encoder(Protocol):
    """From text to token states and a pooled vector. A passage's bits do not depend on what is encoded beside it."""

    @property
    def name(self) -> str:
        """The name it was loaded by."""
        ...

    @property
    def dim(self) -> int:
        """Width of states and vectors."""
        ...

    @property
    def fingerprint(self) -> str:
        """Names all that its bits depend on: weights, tokenizer, types, ladder, libraries, processor, threads."""
        ...

    def split(self, texts: Sequence[str]) -> list[Split]:
        """Cut each text into passages of at most the encoder's window."""
        ...

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Return how many content tokens each text has."""
        ...

    def encode(self, passages: Sequence[Passage]) -> list[Encoded]:
        """Encode passages, in any order and company."""
        ...

    def encode_alone(self, passage: Passage) -> Encoded:
        """Encode one passage at the least cost: for a query. Its bits need not be those that `encode` gives."""
        ...


def load_encoder(name: str, *, threads: int, dtype: Dtype = "auto") -> Encoder:
    """Load an encoder.

    Args:
        name: `minilm` (all-MiniLM-L6-v2, from its package), `hf:` and a folder or the name of a model that has been
            downloaded (mean pooling), or `kmer` (hashed 6-grams, no weights).
        threads: of torch, for the whole process: bits may depend on it.
        dtype: of the weights. `auto` is bfloat16 where the processor computes it, else float32. Vectors are float32.

    Raises:
        InvalidArgumentError: no such kind of encoder; names the field.
        FailedPreconditionError: the model is not here or does not work, or the processor has no bfloat16.
    """
    if name == "kmer":
        return KmerEncoder()
    if name != "minilm" and (not name.startswith("hf:") or name == "hf:"):
        raise InvalidArgumentError("encoder", "must be minilm, kmer, or hf: and a folder or a model's name")
    # The transformers library takes seconds to import, which whoever needs no model should not wait for.
    from memsvc.recall.hf import HuggingFaceEncoder  # noqa: PLC0415

    return HuggingFaceEncoder(name, threads=threads, dtype=dtype)
