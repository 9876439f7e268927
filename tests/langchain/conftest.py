"""One server for the module's tests, with a language model behind it; each test has tenants of its own."""

import uuid
from collections.abc import Iterator

import pytest
from memsvc_client import MemoryClient

from tests.backbone.stub_openai import Stub, answers
from tests.backbone.stub_thread import serving
from tests.serving import Server

SAID = ("It is ", "under ", "the mat.")


@pytest.fixture(scope="session")
def language_model() -> Iterator[Stub]:
    """A server that always says the same."""
    with serving(answers(*SAID, usage={"prompt_tokens": 7, "completion_tokens": 3})) as stub:
        yield stub


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
