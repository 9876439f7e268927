"""One server for the module's tests; each test has a tenant of its own."""

from collections.abc import Iterator

import pytest

from tests.serving import Server


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("mcp") / "data", log_level="debug") as server:
        yield server
