"""A hit of a recall as LangChain's document."""

from langchain_core.documents import Document
from memsvc_client import Hit


def document(hit: Hit) -> Document:
    """Return a hit with its entry's metadata, and its session, role, time, seq and score under these names."""
    entry = hit.entry
    own = {
        "session": entry.session,
        "role": entry.role,
        "time": entry.time.isoformat(),
        "seq": entry.seq,
        "score": hit.score,
    }
    return Document(hit.text, id=hit.id, metadata={**entry.metadata, **own})
