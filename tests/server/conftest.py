"""One server for the module's tests; each test has tenants of its own."""

from collections.abc import Iterator

import pytest
from memsvc_client import MemoryClient

from tests.serving import Server, Stubs


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("server") / "data") as server:
        yield server


@pytest.fixture
def client(server) -> Iterator[MemoryClient]:
    with server.client() as client:
        yield client


@pytest.fixture
def stubs(server) -> Iterator[Stubs]:
    with Stubs(server.target) as stubs:
        yield stubs
