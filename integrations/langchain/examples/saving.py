"""The tools with which a model itself saves and recalls; here they are called as it would call them."""

import os

from memsvc_langchain import RecallMemory, SaveMemory

TARGET = os.environ.get("MEMSVC_TARGET", "127.0.0.1:50051")


def main() -> None:
    """Save, and recall."""
    # In an agent leave `tenant` out: the context of the run says for whom it is, and the model cannot.
    save = SaveMemory(target=TARGET, tenant="saving")
    recall = RecallMemory(target=TARGET, tenant="saving", k=3)
    print(save.invoke({"text": "Ada takes her tea without milk."}))
    print(recall.invoke({"query": "How does Ada take her tea?"}))


if __name__ == "__main__":
    main()
