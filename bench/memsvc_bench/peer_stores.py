"""What a user would pick instead of memsvc, each used as its documentation says. None need be installed but FAISS."""

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import faiss
import numpy as np
import Stemmer

from memsvc_bench.peer_embedding import Embedding, Floats

POOL = 100
"""Hits of each list that are fused."""
RRF = 60
"""Reciprocal rank fusion's constant (Cormack et al., SIGIR 2009)."""
PLACE = "memories"
QUIET: Mapping[str, str] = MappingProxyType({"ANONYMIZED_TELEMETRY": "False", "MEM0_TELEMETRY": "False"})
"""Keeps the libraries from calling home."""


class Store(Protocol):
    """One of them, empty at first."""

    def add(self, first: int, texts: Sequence[str]) -> None:
        """Add entries with the numbers from `first` on."""
        ...

    def ready(self) -> None:
        """Make all that was added recallable, where adding does not."""
        ...

    def find(self, query: str, k: int) -> list[int]:
        """Return the numbers of the best k, the best first."""
        ...


class CosineStore:
    """A matrix and one product."""

    def __init__(self, embedding: Embedding, folder: Path) -> None:
        self._embedding = embedding
        self._rows = np.empty((0, embedding.dim), np.float32)
        self._new: list[Floats] = []

    def add(self, first: int, texts: Sequence[str]) -> None:
        """Add entries."""
        self._new.append(self._embedding.documents(texts))

    def ready(self) -> None:
        """Put the new rows under the others."""
        self._rows, self._new = np.concatenate([self._rows, *self._new]), []

    def find(self, query: str, k: int) -> list[int]:
        """Return the best k."""
        scores = self._rows @ self._embedding.query(query)
        best = np.argpartition(-scores, min(k, len(scores) - 1))[:k]
        found: list[int] = best[np.argsort(-scores[best], kind="stable")].tolist()
        return found


class FaissBm25Store:
    """FAISS's exact index and BM25S, their ranks fused. BM25S knows no adding: its index is built anew."""

    def __init__(self, embedding: Embedding, folder: Path) -> None:
        import bm25s  # noqa: PLC0415

        self._bm25s, self._embedding = bm25s, embedding
        self._index = faiss.IndexFlatIP(embedding.dim)
        self._stemmer = Stemmer.Stemmer("english")
        self._words: list[list[str]] = []
        self._lexical: Any = None

    def add(self, first: int, texts: Sequence[str]) -> None:
        """Add entries."""
        self._index.add(self._embedding.documents(texts))
        self._words += self._split(texts)

    def ready(self) -> None:
        """Build the lexical index."""
        self._lexical = self._bm25s.BM25()
        self._lexical.index(self._words, show_progress=False)

    def find(self, query: str, k: int) -> list[int]:
        """Return the best k."""
        pool = min(POOL, len(self._words))
        _, dense = self._index.search(self._embedding.query(query)[None], pool)
        lists = [dense[0].tolist()]
        if (words := self._split([query]))[0]:
            lexical, scores = self._lexical.retrieve(words, k=pool, show_progress=False)
            lists.append([number for number, score in zip(lexical[0].tolist(), scores[0], strict=True) if score > 0])
        fused: dict[int, float] = {}
        for rank, number in chain.from_iterable(enumerate(numbers, 1) for numbers in lists):
            fused[number] = fused.get(number, 0.0) + 1 / (RRF + rank)
        return sorted(fused, key=lambda number: -fused[number])[:k]

    def _split(self, texts: Sequence[str]) -> list[list[str]]:
        words: list[list[str]] = self._bm25s.tokenize(
            list(texts), stopwords="en", stemmer=self._stemmer, return_ids=False, show_progress=False
        )
        return words


class ChromaStore:
    """A collection of Chroma's in a folder, cosine distance."""

    def __init__(self, embedding: Embedding, folder: Path) -> None:
        import chromadb  # noqa: PLC0415

        self._embedding = embedding
        self._collection: Any = chromadb.PersistentClient(str(folder)).create_collection(
            PLACE, embedding_function=None, configuration={"hnsw": {"space": "cosine"}}
        )

    def add(self, first: int, texts: Sequence[str]) -> None:
        """Add entries."""
        self._collection.add(
            ids=[str(first + i) for i in range(len(texts))],
            embeddings=self._embedding.documents(texts),
            documents=list(texts),
        )

    def ready(self) -> None:
        """They are."""

    def find(self, query: str, k: int) -> list[int]:
        """Return the best k."""
        found = self._collection.query(query_embeddings=self._embedding.query(query)[None], n_results=k, include=[])
        return [int(number) for number in found["ids"][0]]


class LangGraphStore:
    """LangGraph's InMemoryStore with an index."""

    def __init__(self, embedding: Embedding, folder: Path) -> None:
        from langgraph.store.base import PutOp  # noqa: PLC0415
        from langgraph.store.memory import InMemoryStore  # noqa: PLC0415

        from memsvc_bench.peer_langchain import LangChainEmbedding  # noqa: PLC0415

        self._put = PutOp
        self._store = InMemoryStore(
            index={"dims": embedding.dim, "embed": LangChainEmbedding(embedding), "fields": ["text"]}
        )

    def add(self, first: int, texts: Sequence[str]) -> None:
        """Add entries."""
        # Of one batch no two may have the same text: it embeds each once, and then misses one.
        batches: dict[int, list[Any]] = defaultdict(list)
        seen = Counter[str]()
        for i, text in enumerate(texts, first):
            batches[seen[text]].append(self._put((PLACE,), str(i), {"text": text}))
            seen[text] += 1
        for batch in batches.values():
            self._store.batch(batch)

    def ready(self) -> None:
        """They are."""

    def find(self, query: str, k: int) -> list[int]:
        """Return the best k."""
        return [int(item.key) for item in self._store.search((PLACE,), query=query, limit=k)]


class Mem0Store:
    """mem0 without a language model (infer=False), on its local Qdrant."""

    def __init__(self, embedding: Embedding, folder: Path) -> None:
        # It reads the variable when it is imported, and writes there.
        os.environ["MEM0_DIR"] = str(folder)
        from mem0 import Memory  # noqa: PLC0415

        from memsvc_bench.peer_langchain import LangChainEmbedding  # noqa: PLC0415

        store = {"path": str(folder / "qdrant"), "on_disk": True, "embedding_model_dims": embedding.dim}
        self._numbers: dict[str, int] = {}
        self._memory: Any = Memory.from_config(
            {
                "vector_store": {"provider": "qdrant", "config": {"collection_name": PLACE, **store}},
                "embedder": {"provider": "langchain", "config": {"model": LangChainEmbedding(embedding)}},
                # It is made, and never asked.
                "llm": {"provider": "openai", "config": {"api_key": "unused"}},
                "history_db_path": str(folder / "history.db"),
            }
        )

    def add(self, first: int, texts: Sequence[str]) -> None:
        """Add entries."""
        messages = [{"role": "user", "content": text} for text in texts]
        added = self._memory.add(messages, user_id=PLACE, infer=False)["results"]
        self._numbers |= {item["id"]: first + i for i, item in enumerate(added)}

    def ready(self) -> None:
        """They are."""

    def find(self, query: str, k: int) -> list[int]:
        """Return the best k."""
        found = self._memory.search(query, filters={"user_id": PLACE}, top_k=k)["results"]
        return [self._numbers[item["id"]] for item in found]


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """One of them, as it is compared."""

    name: str
    packages: Sequence[str]
    """Distributions beside what `memsvc[bench]` brings."""
    modules: Sequence[str]
    """What they are imported as."""
    store: Callable[[Embedding, Path], Store]
    dense: bool = True
    """Whether vectors alone decide."""
    durable: bool = False
    """Whether what it holds survives its process."""
    most: int | None = None
    """Entries up to which it is compared: beyond them it takes too long."""

    @property
    def missing(self) -> bool:
        """Whether it is not installed."""
        return any(find_spec(module) is None for module in self.modules)


PEERS: Mapping[str, Peer] = MappingProxyType(
    {
        peer.name: peer
        for peer in (
            Peer(name="cosine", packages=(), modules=(), store=CosineStore),
            Peer(name="FAISS + BM25S", packages=("bm25s",), modules=("bm25s",), store=FaissBm25Store, dense=False),
            Peer(name="Chroma", packages=("chromadb",), modules=("chromadb",), store=ChromaStore, durable=True),
            Peer(
                name="LangGraph InMemoryStore",
                packages=("langgraph",),
                modules=("langgraph",),
                store=LangGraphStore,
                most=100_000,
            ),
            Peer(
                name="mem0",
                packages=("mem0ai",),
                modules=("mem0", "qdrant_client"),
                store=Mem0Store,
                durable=True,
                most=100_000,
            ),
        )
    }
)
