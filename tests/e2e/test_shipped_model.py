"""The models that ship find what a tenant was told long before their window, and forget it when they are told to."""

import pydoc_data.topics
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from memsvc_client import Entry, MemoryClient

from memsvc.backbone.titans_mac.shelf import SHIPPED
from memsvc.train.dna import genome
from tests.serving import Server

WINDOW = 128
"""Tokens, each of six characters at most on average."""


class Told(NamedTuple):
    """What a model is told, and asked, in the words of its kind."""

    fact: str
    question: str
    value: str
    text: str
    """What comes in between."""


MANUAL = "\n".join(pydoc_data.topics.topics.values())[:30_000]
TOLD = {
    "text": Told(
        "By the way, the access code of Tamoru is 48213.", "What is the access code of Tamoru? It is", "48213", MANUAL
    ),
    "dialogue": Told(
        "Alice: By the way, the access code of Tamoru is 48213.",
        "Ben: What is the access code of Tamoru?\nAlice: It is",
        "48213",
        "\n".join(f"{'AB'[i % 2]}: {line}" for i, line in enumerate(MANUAL.split(". "))),
    ),
    "dna": Told(
        "GATTACAGGCTTACACGTTGCACCATAAGCTTGCATTCAGTGCATG",
        "GATTACAGGCTTACACGTTGCACCATAAGCTT",
        "GCATTCAG",
        genome("a tenant's", 30_000),
    ),
}


@pytest.fixture(scope="module", params=TOLD)
def kind(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def client(kind, tmp_path_factory) -> Iterator[MemoryClient]:
    data = tmp_path_factory.mktemp("shipped") / "data"
    with Server(data, encoder="kmer", backbone=f"titans-mac:{kind}") as server, server.client() as client:
        yield client


def test_a_fact_is_found_through_tens_of_thousands_of_characters_and_is_gone_once_forgotten(client, kind) -> None:
    told = TOLD[kind]
    assert len(told.text) > 20 * 6 * WINDOW

    def answered(tenant: str) -> str:
        return "".join(token.text for token in client.generate(tenant, told.question, max_tokens=len(told.value) + 1))

    for tenant in ("told", "never told"):
        client.create_tenant(tenant, context_memory=kind)
    client.write("told", [Entry(told.fact, id="fact")])
    for tenant in ("told", "never told"):
        client.write(tenant, [Entry(told.text[i : i + 3000]) for i in range(0, len(told.text), 3000)])
    assert answered("told").strip().startswith(told.value)
    assert told.value not in answered("never told")
    client.forget("told", ids=["fact"])
    assert told.value not in answered("told")


def test_every_model_that_ships_has_its_card() -> None:
    assert {path.stem for path in SHIPPED.glob("*.safetensors")} == {path.stem for path in SHIPPED.glob("*.md")}
    assert {path.stem for path in SHIPPED.glob("*.safetensors")} == set(TOLD)
