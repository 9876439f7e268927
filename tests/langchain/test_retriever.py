"""The retriever: LangChain's standard tests, and what they leave out."""

import uuid

import pytest
from langchain_tests.integration_tests import RetrieversIntegrationTests
from memsvc_client import Entry, NotFoundError
from memsvc_langchain import MemsvcRetriever

TEXTS = [
    "the key is under the mat",
    "the door is blue",
    "the boiler was serviced",
    "a parrot called Olu",
    "tea, no milk",
]


@pytest.fixture(scope="module")
def manual(client) -> str:
    tenant = f"manual {uuid.uuid4()}"
    client.create_tenant(tenant)
    entries = [Entry(text, id=str(i), session="house", metadata={"page": i}) for i, text in enumerate(TEXTS)]
    client.write(tenant, entries)
    return tenant


class TestStandard(RetrieversIntegrationTests):
    @pytest.fixture(autouse=True)
    def _connect(self, client, manual):
        self.params = {"client": client, "tenant": manual}

    @property
    def retriever_constructor(self):
        return MemsvcRetriever

    @property
    def retriever_constructor_params(self):
        return self.params

    @property
    def retriever_query_example(self):
        return "where is the key?"


def test_a_document_says_where_it_is_from(client, manual):
    first, second = MemsvcRetriever(client=client, tenant=manual, k=2).invoke("the blue door")
    assert (first.page_content, first.id) == ("the door is blue", "1")
    assert first.metadata["page"] == 1
    assert (first.metadata["session"], first.metadata["role"]) == ("house", None)
    assert first.metadata["score"] > second.metadata["score"]
    assert {"time", "seq"} <= first.metadata.keys()


def test_filters(client, manual):
    def found(**settings):
        retriever = MemsvcRetriever(client=client, tenant=manual, **settings)
        return {document.id for document in retriever.invoke("the door")}

    assert found(filter={"page": {"$gte": 3}}) == {"3", "4"}
    assert found(session="garden") == set()
    assert found(role="user") == set()


def test_the_past(client, tenant):
    client.create_tenant(tenant)
    seq = client.write(tenant, Entry("the door is blue", id="blue")).seq
    client.write(tenant, Entry("the door is red", id="red"))
    retriever = MemsvcRetriever(client=client, tenant=tenant, as_of=seq)
    assert [document.id for document in retriever.invoke("door")] == ["blue"]


async def test_k_from_a_running_loop(server, manual):
    retriever = MemsvcRetriever(target=server.target, tenant=manual)
    assert len(await retriever.ainvoke("the door", k=2)) == 2


def test_a_tenant_is_made_only_where_that_is_wanted(client, tenant):
    with pytest.raises(NotFoundError):
        MemsvcRetriever(client=client, tenant=tenant, create=False).invoke("x")
    assert MemsvcRetriever(client=client, tenant=tenant).invoke("x") == []


def test_without_a_tenant_it_asks_nobody(client):
    with pytest.raises(ValueError, match="no user_id"):
        MemsvcRetriever(client=client).invoke("x")


def test_no_client_is_shown_or_dumped(client):
    retriever = MemsvcRetriever(client=client, tenant="ada")
    assert "client" not in retriever.model_dump()
    assert "MemoryClient" not in repr(retriever)
