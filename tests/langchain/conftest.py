"""One server for the module's tests, with a language model behind it; each test has tenants of its own."""

import asyncio
import uuid
from collections.abc import Iterator
from threading import Event, Thread

import pytest
from memsvc_client import MemoryClient

from tests.backbone.stub_openai import Stub, answers
from tests.serving import Server

SAID = ("It is ", "under ", "the mat.")


@pytest.fixture(scope="session")
def language_model() -> Iterator[Stub]:
    """A server that always says the same, on a loop of its own."""
    stub = Stub(answers(*SAID, usage={"prompt_tokens": 7, "completion_tokens": 3}))
    started, loop = Event(), asyncio.new_event_loop()

    async def serve() -> None:
        async with stub.serve():
            started.set()
            await ended.wait()

    ended = asyncio.Event()
    thread = Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    started.wait()
    yield stub
    loop.call_soon_threadsafe(ended.set)
    thread.join()
    loop.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory, language_model) -> Iterator[Server]:
    settings = {"backbone": f"openai:{language_model.url}", "backbone_model": "m"}
    with Server(tmp_path_factory.mktemp("langchain") / "data", **settings) as server:
        yield server


@pytest.fixture(scope="module")
def client(server) -> Iterator[MemoryClient]:
    with server.client() as client:
        yield client


@pytest.fixture
def tenant() -> str:
    """An id that no tenant has yet."""
    return f"ada@example.org/{uuid.uuid4()} 🦉"
