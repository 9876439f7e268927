"""One server with metrics for the module's tests."""

from collections.abc import Iterator

import pytest

from tests.serving import Server


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("metrics") / "data", metrics_port=0, snapshot_idle_s=0.2) as server:
        yield server
