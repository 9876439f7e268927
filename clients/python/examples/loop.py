"""A conversation with a memory, line by line, with the client alone: recall, ask a model, write both turns."""

import os
import sys
from collections.abc import Iterable

from memsvc_client import Entry, MemoryClient

TARGET = os.environ.get("MEMSVC_TARGET", "127.0.0.1:50051")
TENANT, SESSION = "ada@example.org", os.environ.get("SESSION", "today")


def answer(prompt: str) -> str:
    """Return what a language model says; put yours in the place of this one, which repeats the first memory."""
    memories = [line for line in prompt.split("\n") if line.startswith("{")]
    return f"I remember {memories[0]}" if memories else "I know nothing of that yet."


def main(lines: Iterable[str]) -> None:
    """Talk."""
    with MemoryClient(TARGET) as client:
        client.create_tenant(TENANT, exist_ok=True, preset="dialogue")
        for line in filter(None, map(str.strip, lines)):
            # Hits in time order, within a budget, fenced as data: no text in them can pass for an instruction's end.
            context = client.recall(TENANT, line, k=5, max_tokens=500).context
            said = answer(f"{context}\n\n{line}")
            client.write(
                TENANT, [Entry(line, session=SESSION, role="user"), Entry(said, session=SESSION, role="assistant")]
            )
            print(said)


if __name__ == "__main__":
    main(sys.stdin)
