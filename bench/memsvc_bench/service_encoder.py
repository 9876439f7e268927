"""The encoder alone in a process of its own, as the service's benchmark asks it."""

from collections.abc import Sequence

from memsvc_bench.asked import AskedProcess


class EncoderProcess(AskedProcess):
    """The encoder alone (`service_peer`): its threads compete with no server's, for one of the two always rests.

    Attributes:
        bf16_supported: whether the processor computes in bf16.
        room: the tokens that it reads of a text, special ones not counted.

    Args:
        name: `minilm`, `kmer` or `hf:NAME`, as the server takes them.
        threads: torch threads.
    """

    def __init__(self, name: str, threads: int) -> None:
        super().__init__("memsvc_bench.service_peer", name, str(threads))
        described = self.ask("describe")
        self.bf16_supported: bool = described["bf16_supported"]
        self.room: int = described["room"]

    def count(self, texts: Sequence[str]) -> list[int]:
        """Return each text's tokens, special ones not counted and nothing cut off."""
        counts: list[int] = self.ask("count", texts=list(texts))["tokens"]
        return counts

    def encode(self, texts: Sequence[str], dtype: str = "float32") -> float:
        """Encode texts; return the seconds that it took, tokenisation included."""
        seconds: float = self.ask("encode", texts=list(texts), dtype=dtype)["seconds"]
        return seconds

    def search(self, entries: int, dim: int, queries: Sequence[str], k: int) -> list[float]:
        """Encode each query and find its k nearest synthetic entries with FAISS; return the seconds of each."""
        seconds: list[float] = self.ask("search", entries=entries, dim=dim, queries=list(queries), k=k)["seconds"]
        return seconds
