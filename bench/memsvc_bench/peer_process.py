"""One store beside memsvc, in a process of its own: `python -m memsvc_bench.peer_process NAME WAY ENCODER THREADS DIR`.

It answers one JSON object a line with another, as `PeerContender` asks.
"""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import faiss
import torch

from memsvc.engine.runner import prepare_thread
from memsvc_bench.asked import answer
from memsvc_bench.peer_embedding import USUAL, GivenEmbedding, Way, embedding
from memsvc_bench.peer_stores import PEERS, Store
from memsvc_bench.service_load import BATCH, K
from memsvc_bench.service_texts import Synthetic


class _Answers:
    def __init__(self, name: str, way: Way, encoder: str, threads: int, folder: Path) -> None:
        self._peer, self._folder = PEERS[name], folder
        self._embedding = embedding(way, encoder, threads)
        self._store: Store | None = None
        self._entries = 0

    def encode(self, texts: list[str]) -> dict[str, Any]:
        """Time the encoder alone."""
        start = time.perf_counter()
        for first in range(0, len(texts), BATCH):
            self._embedding.documents(texts[first : first + BATCH])
        return {"seconds": time.perf_counter() - start}

    def ingest(self, texts: list[str]) -> dict[str, Any]:
        """Fill an empty store; time it until the last entry is recallable."""
        store = self._new(self._peer.store(self._embedding, self._place()))
        start = time.perf_counter()
        for first in range(0, len(texts), BATCH):
            self._add(texts[first : first + BATCH])
        store.ready()
        store.find(texts[-1][:100], 1)
        return {"seconds": time.perf_counter() - start}

    def load(self, entries: int) -> dict[str, Any]:
        """Fill an empty store with synthetic entries and their vectors; time it without making them."""
        given = GivenEmbedding(self._embedding)
        store = self._new(self._peer.store(given, self._place()))
        seconds = 0.0
        for block in Synthetic(entries, given.dim).blocks():
            given.vectors = dict(zip(block.texts, block.vectors, strict=True))
            start = time.perf_counter()
            self._add(block.texts)
            seconds += time.perf_counter() - start
        given.vectors = {}
        start = time.perf_counter()
        store.ready()
        store.find("loaded", 1)
        return {"seconds": seconds + time.perf_counter() - start}

    def write(self, texts: list[str]) -> dict[str, Any]:
        """Write one entry after the other; time each until it is recallable, and count those that are then found."""
        store, found = self._filled(), 0
        seconds: list[float] = []
        for text in texts:
            start = time.perf_counter()
            number = self._add([text])
            store.ready()
            seconds.append(time.perf_counter() - start)
            found += number in store.find(text, K)
        return {"seconds": seconds, "found": found}

    def recall(self, queries: list[str], k: int, budget_s: float) -> dict[str, Any]:
        """Ask one query after the other, for so long at most; time each."""
        store = self._filled()
        seconds: list[float] = []
        numbers: list[list[int]] = []
        for query in queries:
            start = time.perf_counter()
            numbers.append(store.find(query, k))
            seconds.append(time.perf_counter() - start)
            if sum(seconds) > budget_s:
                break
        return {"seconds": seconds, "numbers": numbers}

    def _new(self, store: Store) -> Store:
        self._store, self._entries = store, 0
        return store

    def _filled(self) -> Store:
        if self._store is None:
            raise RuntimeError("nothing was written")
        return self._store

    def _add(self, texts: Sequence[str]) -> int:
        """Add texts; return the number of the first."""
        first = self._entries
        self._filled().add(first, texts)
        self._entries += len(texts)
        return first

    def _place(self) -> Path:
        return Path(mkdtemp(dir=self._folder))


def main(name: str, way: Way, encoder: str, threads: int, folder: Path) -> None:
    """Answer questions from standard input until it ends."""
    prepare_thread(threads)
    faiss.omp_set_num_threads(threads)
    with torch.inference_mode():
        answers = _Answers(name, way, encoder, threads, folder)
        answer(
            {
                "encode": answers.encode,
                "ingest": answers.ingest,
                "load": answers.load,
                "write": answers.write,
                "recall": answers.recall,
            }
        )


if __name__ == "__main__":
    main(sys.argv[1], USUAL if sys.argv[2] == USUAL else "memsvc", sys.argv[3], int(sys.argv[4]), Path(sys.argv[5]))
