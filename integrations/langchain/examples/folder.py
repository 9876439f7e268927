"""Answers from a folder of texts: each paragraph is an entry, each file a session."""

import os
import sys
from pathlib import Path

from langchain_core.documents import Document
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnablePassthrough
from memsvc_client import Entry, MemoryClient
from memsvc_langchain import MemsvcRetriever
from offline_model import OfflineModel

TARGET = os.environ.get("MEMSVC_TARGET", "127.0.0.1:50051")
PROMPT = ChatPromptTemplate.from_messages(
    [("system", "Answer from what is quoted, and say where it stands."), ("user", "{quoted}\n\n{question}")]
)


def main(folder: Path, question: str) -> None:
    """Write the folder's texts, and ask."""
    with MemoryClient(TARGET) as client:
        client.create_tenant("folder", exist_ok=True)
        for path in sorted(folder.glob("*.md")):
            paragraphs = [part for part in path.read_text().split("\n\n") if part.strip()]
            # With ids of our own, writing it again changes nothing.
            entries = [Entry(text, id=f"{path.name} {i}", session=path.name) for i, text in enumerate(paragraphs)]
            client.write("folder", entries)
        retriever = MemsvcRetriever(client=client, tenant="folder", k=3)
        asked = {"quoted": retriever | quoted, "question": RunnablePassthrough()}
        print((asked | PROMPT | OfflineModel() | StrOutputParser()).invoke(question))


def quoted(documents: list[Document]) -> str:
    """Return documents as a prompt quotes them, a line each."""
    return "\n".join(f"> {each.metadata['session']}: {' '.join(each.page_content.split())}" for each in documents)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
