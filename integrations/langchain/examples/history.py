"""A chat history on LangChain's deprecated interface, for older code; new code takes `MemsvcMiddleware`."""

import os
import warnings

from memsvc_langchain import MemsvcChatMessageHistory

TARGET = os.environ.get("MEMSVC_TARGET", "127.0.0.1:50051")


def main() -> None:
    """Add messages, read them, and erase them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        history = MemsvcChatMessageHistory("monday", TARGET, tenant="history")
    history.add_user_message("Where is the key?")
    history.add_ai_message("Under the mat.")
    for message in history.messages:
        print(f"{message.type}: {message.text}")
    history.clear()
    print(len(history.messages))


if __name__ == "__main__":
    main()
