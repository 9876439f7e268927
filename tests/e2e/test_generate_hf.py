"""Answers of a Hugging Face model in the server's own process, small and with random weights."""

from collections.abc import Iterator

import pytest
from memsvc_client import Entry, FailedPreconditionError, InvalidArgumentError, MemoryClient, Usage

from tests.backbone.hf_build import LINES, LONG, llama, save
from tests.serving import Server, refused


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("hf")
    save(folder / "model", llama(max_position_embeddings=2048))
    with Server(folder / "data", backbone=f"hf:{folder / 'model'}", backbone_context_tokens=200) as server:
        yield server


@pytest.fixture
def client(server) -> Iterator[MemoryClient]:
    with server.client() as client:
        yield client


def answered(client: MemoryClient, tenant: str, prompt: str, **options) -> tuple[str, Usage, list[str]]:
    tokens = list(client.generate(tenant, prompt, max_tokens=12, **options))
    (usage,) = [token.usage for token in tokens if token.usage]
    return "".join(token.text for token in tokens), usage, [hit.id for hit in tokens[0].recalled]


def test_what_is_recalled_changes_the_answer(client) -> None:
    for tenant in ("with", "without"):
        client.create_tenant(tenant)
    client.write("with", [Entry(line, id=f"e{i}") for i, line in enumerate(LINES)])
    said, usage, ids = answered(client, "with", "what did the doctor say?", k=1)
    other, shorter, none = answered(client, "without", "what did the doctor say?", k=1)
    assert (ids, none) == (["e1"], [])
    assert said != other
    assert usage.prompt_tokens > shorter.prompt_tokens
    assert usage.completion_tokens == 12
    assert usage.finish == "length"
    assert answered(client, "with", "what did the doctor say?", k=1)[0] == said


def test_what_is_kept_of_a_tenants_prompt_goes_when_it_forgets_and_no_other_has_it(client) -> None:
    for tenant in ("keeps", "other"):
        client.create_tenant(tenant)
        client.write(tenant, Entry(LINES[0], id="e"))
    assert answered(client, "keeps", LONG, k=0)[1].cached_tokens == 0
    assert answered(client, "other", LONG, k=0)[1].cached_tokens == 0, "it is another tenant's"
    assert answered(client, "keeps", LONG, k=0)[1].cached_tokens > 0
    client.forget("keeps", "e")
    assert answered(client, "keeps", LONG, k=0)[1].cached_tokens == 0
    assert answered(client, "other", LONG, k=0)[1].cached_tokens > 0


def test_a_prompt_that_does_not_fit_is_refused_by_name_and_the_next_is_answered(client) -> None:
    client.create_tenant("long")
    with pytest.raises(InvalidArgumentError) as failure:
        answered(client, "long", LONG * 30, k=0, remember=True)
    assert (failure.value.field, failure.value.reason) == ("prompt", "PROMPT_TOO_LONG")
    assert list(client.list_entries("long")) == []
    assert answered(client, "long", "hi", k=0)[0]


def test_a_tenants_window_may_be_smaller_than_the_models(client, tmp_path) -> None:
    client.create_tenant("narrow", window=1024)
    client.create_tenant("wide", preset="genomics")
    said, usage, _ = answered(client, "wide", LONG * 4, k=0)
    assert usage.prompt_tokens > 1024
    client.export_tenant("narrow", tmp_path / "narrow.memsvc")
    assert client.import_tenant(tmp_path / "narrow.memsvc", "brought back").tenant.memory.window == 1024
    for tenant in ("narrow", "brought back"):
        with pytest.raises(InvalidArgumentError, match="the tenant's window of 1024,") as failure:
            answered(client, tenant, LONG * 4, k=0)
        assert (failure.value.field, failure.value.reason) == ("prompt", "PROMPT_TOO_LONG")
    client.update_tenant("narrow", window=2048)
    client.update_tenant("wide", window=1024)
    assert answered(client, "narrow", LONG * 4, k=0)[0] == said
    with pytest.raises(InvalidArgumentError, match="the tenant's window of 1024,"):
        answered(client, "wide", LONG * 4, k=0)


def test_a_model_without_a_chat_template_says_so(tmp_path) -> None:
    save(tmp_path / "model", template=None)
    with Server(tmp_path / "data", backbone=f"hf:{tmp_path / 'model'}") as server, server.client() as client:
        client.create_tenant("t")
        with pytest.raises(FailedPreconditionError) as failure:
            answered(client, "t", "hi", k=0)
        assert failure.value.reason == "NO_CHAT_TEMPLATE"


def test_a_model_that_is_not_here_is_named_at_the_start(tmp_path) -> None:
    said = refused(Server(tmp_path / "data", backbone=f"hf:{tmp_path / 'nowhere'}"))
    assert "backbone" in said
    assert "nowhere" in said


def test_an_answer_may_slide_past_the_window_and_nothing_is_kept_where_the_settings_say_so(tmp_path) -> None:
    save(tmp_path / "model", llama(max_position_embeddings=2048))
    settings = {"backbone_window": 512, "backbone_slide": True, "backbone_prefix_bytes": 0, "backbone_dtype": "float32"}
    with (
        Server(tmp_path / "data", backbone=f"hf:{tmp_path / 'model'}", **settings) as server,
        server.client() as client,
    ):
        client.create_tenant("t")
        for _ in range(2):
            assert answered(client, "t", LONG, k=0)[1].cached_tokens == 0
        *_, last = client.generate("t", "hi", max_tokens=520, k=0)
        assert last.usage.completion_tokens == 520
        with pytest.raises(InvalidArgumentError) as failure:
            answered(client, "t", LONG * 4, k=0)
        assert failure.value.reason == "PROMPT_TOO_LONG"
