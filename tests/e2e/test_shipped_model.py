"""The model that ships finds what a tenant was told long before its window, and forgets it when it is told to."""

import pydoc_data.topics
from collections.abc import Iterator

import pytest
from memsvc_client import Entry, MemoryClient

from tests.serving import Server

WINDOW = 128
QUESTION = "What is the access code of Tamoru? It is"


@pytest.fixture(scope="module")
def client(tmp_path_factory) -> Iterator[MemoryClient]:
    data = tmp_path_factory.mktemp("shipped") / "data"
    with Server(data, encoder="kmer", backbone="titans-mac:text") as server, server.client() as client:
        yield client


def answered(client: MemoryClient, tenant: str) -> str:
    return "".join(token.text for token in client.generate(tenant, QUESTION, max_tokens=6))


def test_a_fact_is_found_through_tens_of_thousands_of_characters_and_is_gone_once_forgotten(client) -> None:
    text = "\n".join(pydoc_data.topics.topics.values())[:30_000]
    assert len(text) > 20 * 6 * WINDOW
    for tenant in ("told", "never told"):
        client.create_tenant(tenant, context_memory="text")
    client.write("told", [Entry("By the way, the access code of Tamoru is 48213.", id="fact")])
    for tenant in ("told", "never told"):
        client.write(tenant, [Entry(text[i : i + 3000]) for i in range(0, len(text), 3000)])
    assert answered(client, "told").split(".")[0].strip() == "48213"
    assert "48213" not in answered(client, "never told")
    client.forget("told", ids=["fact"])
    assert "48213" not in answered(client, "told")
