"""An embedding as LangChain's libraries take it."""

from langchain_core.embeddings import Embeddings

from memsvc_bench.peer_embedding import Embedding


class LangChainEmbedding(Embeddings):
    """Gives what an embedding gives, as lists."""

    def __init__(self, embedding: Embedding) -> None:
        self._embedding = embedding

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return a vector for each text."""
        rows: list[list[float]] = self._embedding.documents(texts).tolist()
        return rows

    def embed_query(self, text: str) -> list[float]:
        """Return the vector of a text."""
        row: list[float] = self._embedding.query(text).tolist()
        return row
