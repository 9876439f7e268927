"""Retrieval over a folder of texts: each paragraph is an entry, each file a session."""

import os
import sys
from pathlib import Path

from memsvc_client import Entry, MemoryClient
from memsvc_langchain import MemsvcRetriever

TARGET = os.environ.get("MEMSVC_TARGET", "127.0.0.1:50051")


def main(folder: Path, question: str) -> None:
    """Write the folder's texts, and ask."""
    with MemoryClient(TARGET) as client:
        client.create_tenant("folder", exist_ok=True)
        for path in sorted(folder.glob("*.md")):
            paragraphs = [part for part in path.read_text().split("\n\n") if part.strip()]
            # With ids of our own, writing it again changes nothing.
            entries = [Entry(text, id=f"{path.name} {i}", session=path.name) for i, text in enumerate(paragraphs)]
            client.write("folder", entries)
        for document in MemsvcRetriever(client=client, tenant="folder", k=3).invoke(question):
            print(f"{document.metadata['session']}: {document.page_content}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
