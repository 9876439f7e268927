"""One server for the module's tests; each test has tenants of its own."""

from collections.abc import Iterator

import httpx2
import pytest

from tests.gateway.http import http
from tests.serving import Server


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("gateway") / "data", http_port=0, log_level="debug") as server:
        yield server


@pytest.fixture
def client(server) -> Iterator[httpx2.Client]:
    with http(server) as client:
        yield client
