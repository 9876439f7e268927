"""Answers of the server's own language model, which recalls by itself: start it with `memsvc serve --backbone …`."""

import os

from memsvc_langchain import ChatMemsvc

TARGET = os.environ.get("MEMSVC_TARGET", "127.0.0.1:50051")


def main() -> None:
    """Ask, and print the answer as it comes."""
    model = ChatMemsvc(target=TARGET, tenant="answering", remember=True)
    for chunk in model.stream("Where is the key?"):
        print(chunk.text, end="", flush=True)
    print()


if __name__ == "__main__":
    main()
