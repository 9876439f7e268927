"""LangGraph's store: items under a namespace and a key."""

import os

from memsvc_langchain import MemsvcStore, namespace_label

TARGET = os.environ.get("MEMSVC_TARGET", "127.0.0.1:50051")


def main() -> None:
    """Put, search, list and delete."""
    store = MemsvcStore(TARGET, tenant="items", fields=["memory"])
    ada = ("users", namespace_label("ada@example.org"))
    store.put(ada, "drink", {"memory": "takes her tea without milk", "strength": 3})
    store.put(ada, "pet", {"memory": "has a parrot called Olu", "strength": 5}, ttl=60 * 24)
    for item in store.search(ada, query="tea or coffee?", filter={"strength": {"$lt": 5}}):
        print(item.key, item.value)
    store.delete(ada, "drink")
    print(store.get(ada, "drink"), store.list_namespaces(prefix=("users",)))


if __name__ == "__main__":
    main()
