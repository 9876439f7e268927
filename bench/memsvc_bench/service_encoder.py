"""The encoder alone in a process of its own, as the service's benchmark asks it."""

import json
import subprocess
import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self


class EncoderProcess:
    """The encoder alone (`service_peer`): its threads compete with no server's, for one of the two always rests.

    Attributes:
        bf16_supported: whether the processor computes in bf16.
        room: the tokens that it reads of a text, special ones not counted.

    Args:
        name: `minilm`, `kmer` or `hf:NAME`, as the server takes them.
        threads: torch threads.
    """

    def __init__(self, name: str, threads: int) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-m", "memsvc_bench.service_peer", name, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        described = self._ask("describe")
        self.bf16_supported: bool = described["bf16_supported"]
        self.room: int = described["room"]

    def count(self, texts: Sequence[str]) -> list[int]:
        """Return each text's tokens, special ones not counted and nothing cut off."""
        counts: list[int] = self._ask("count", texts=list(texts))["tokens"]
        return counts

    def encode(self, texts: Sequence[str], dtype: str = "float32") -> float:
        """Encode texts; return the seconds that it took, tokenisation included."""
        seconds: float = self._ask("encode", texts=list(texts), dtype=dtype)["seconds"]
        return seconds

    def search(self, entries: int, dim: int, queries: Sequence[str], k: int) -> list[float]:
        """Encode each query and find its k nearest synthetic entries with FAISS; return the seconds of each."""
        seconds: list[float] = self._ask("search", entries=entries, dim=dim, queries=list(queries), k=k)["seconds"]
        return seconds

    def __enter__(self) -> Self:
        """Return it; it runs already."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it."""
        self._process.communicate()

    def _ask(self, op: str, **arguments: Any) -> dict[str, Any]:
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("the encoder's process has no pipes")
        self._process.stdin.write(json.dumps({"op": op, **arguments}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the encoder's process ended at {op}; it needs what memsvc[bench] installs")
        answer: dict[str, Any] = json.loads(line)
        return answer
