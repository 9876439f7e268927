"""An agent that remembers each of its users, across conversations and restarts."""

import os
from dataclasses import dataclass

from langchain.agents import create_agent
from memsvc_langchain import MemsvcMiddleware, MemsvcStore
from offline_model import OfflineModel

TARGET = os.environ.get("MEMSVC_TARGET", "127.0.0.1:50051")


@dataclass
class Context:
    """For whom a run is."""

    user_id: str


def main() -> None:
    """Tell an agent something, and ask a new one."""
    for user, text in [
        ("ada@example.org", "My key is under the mat."),
        ("bob@example.org", "Where is the key?"),
        ("ada@example.org", "Where is my key?"),
    ]:
        # A new agent for each: nothing is kept in this process.
        agent = create_agent(
            OfflineModel(),
            middleware=[MemsvcMiddleware(TARGET)],
            store=MemsvcStore(TARGET, tenant="agent"),  # what tools keep there, beside what is recalled
            context_schema=Context,
        )
        state = agent.invoke({"messages": [("user", text)]}, context=Context(user))
        print(f"{user}: {text}\n  {state['messages'][-1].text}")


if __name__ == "__main__":
    main()
