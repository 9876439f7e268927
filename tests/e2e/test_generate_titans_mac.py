"""Answers of a titans-mac model from what its tenants were told, with a tiny model that nobody trained."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from memsvc_client import Entry, FailedPreconditionError, InvalidArgumentError, MemoryClient, Usage

from memsvc.backbone.base import Message, Piece, Prompt
from memsvc.backbone.titans_mac.generate import PROMPT_TOKENS, answer
from tests.backbone.titans_mac.build import loaded, save
from tests.serving import Server, refused

TEXTS = [f"the code of box {i} is {i * 7919 % 1009}, and it stands at {i * 104729 % 997}" for i in range(4)]
QUESTION = "the code of box 3 is"


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    return save(tmp_path_factory.mktemp("models") / "small.safetensors")


@pytest.fixture(scope="module")
def model(file):
    return loaded(file)


@pytest.fixture(scope="module")
def server(tmp_path_factory, file) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("mac") / "data", backbone=f"titans-mac:{file}") as server:
        yield server


@pytest.fixture
def client(server) -> Iterator[MemoryClient]:
    with server.client() as client:
        yield client


def tell(client: MemoryClient, tenant: str, texts=TEXTS) -> None:
    client.create_tenant(tenant, context_memory="small")
    client.write(tenant, [Entry(text, id=f"e{i}") for i, text in enumerate(texts)])


def answered(client: MemoryClient, tenant: str, prompt=QUESTION, **options) -> tuple[str, Usage]:
    tokens = list(client.generate(tenant, prompt, **{"max_tokens": 24, **options}))
    (usage,) = [token.usage for token in tokens if token.usage]
    return "".join(token.text for token in tokens), usage


def expected(model, texts, prompt=QUESTION, **options) -> str:
    """What the model says after a stream of these texts, on its own."""
    (told,) = model.advance([model.start()], [model.tokens("".join(f"{text}\n" for text in texts))])
    asked = Prompt(messages=(Message("user", prompt),), **{"max_tokens": 24, **options})
    return "".join(item.text for item in answer(model, told.stream, asked) if isinstance(item, Piece))


def test_the_answer_follows_what_the_tenant_was_told(client, model) -> None:
    tell(client, "told")
    tell(client, "other", TEXTS[:2])
    said, usage = answered(client, "told")
    assert said == expected(model, TEXTS)
    assert answered(client, "other")[0] == expected(model, TEXTS[:2]) != said
    assert (usage.prompt_tokens, usage.completion_tokens, usage.finish) == (len(QUESTION), 24, "length")
    assert answered(client, "told")[0] == said, "the stream stays as it was"
    earlier = [("user", "what is this?"), ("assistant", "a box"), ("user", QUESTION)]
    assert answered(client, "told", earlier)[0] == said
    given, with_context = answered(client, "told", max_context_tokens=500)
    assert with_context.prompt_tokens > usage.prompt_tokens
    assert given != said


def test_seeds_and_stops(client, model) -> None:
    tell(client, "seeds")
    drawn = answered(client, "seeds", temperature=1.5, top_p=0.9, seed=7)[0]
    assert drawn == expected(model, TEXTS, temperature=1.5, top_p=0.9, seed=7)
    assert drawn != answered(client, "seeds", temperature=1.5, top_p=0.9, seed=8)[0]
    before, usage = answered(client, "seeds", temperature=1.5, top_p=0.9, seed=7, stop=drawn[4:6])
    assert before == drawn[: drawn.index(drawn[4:6])]
    assert usage.finish == "stop"


def test_an_answer_that_is_remembered_is_told_too(client, model) -> None:
    tell(client, "remembers")
    said, usage = answered(client, "remembers", temperature=1.0, seed=1, remember=True)
    assert usage.remembered_seq
    assert answered(client, "remembers")[0] == expected(model, [*TEXTS, QUESTION, said])


def test_a_restart_and_a_fold_afresh_change_nothing_and_what_is_forgotten_was_never_told(tmp_path, file, model) -> None:
    settings = {"backbone": f"titans-mac:{file}", "snapshot_min_tokens": 1}
    with Server(tmp_path / "data", **settings) as server:
        with server.client() as client:
            tell(client, "t")
            hashed = client.state_hash("t")
        server.stop()
    with Server(tmp_path / "data", **settings) as server, server.client() as client:
        assert answered(client, "t")[0] == expected(model, TEXTS)
        verified = client.verify("t")
        assert verified.state_hash == verified.folded_hash == hashed
        client.forget("t", ["e0", "e3"])
        assert answered(client, "t")[0] == expected(model, TEXTS[1:3])
        identity = next(iter(client.list_tenants())).context_memory
        assert identity == model.identity
    with Server(tmp_path / "data") as server, server.client() as client:
        with pytest.raises(FailedPreconditionError, match=identity) as failure:
            client.write("t", Entry("more"))
        assert failure.value.reason == "NO_CONTEXT_MODEL"


def test_a_tenant_without_the_models_memory_is_told_what_to_do(client, model) -> None:
    client.create_tenant("without")
    with pytest.raises(FailedPreconditionError, match=model.identity) as failure:
        answered(client, "without")
    assert failure.value.reason == "NO_CONTEXT_MEMORY"
    assert {tenant.tenant: tenant.context_memory for tenant in client.list_tenants()}["without"] is None


def test_a_prompt_beyond_the_limit_is_refused_and_the_next_is_answered(client) -> None:
    tell(client, "long")
    with pytest.raises(InvalidArgumentError) as failure:
        answered(client, "long", "x" * (PROMPT_TOKENS + 1), remember=True)
    assert (failure.value.field, failure.value.reason) == ("prompt", "PROMPT_TOO_LONG")
    assert len(list(client.list_entries("long"))) == len(TEXTS)
    with pytest.raises(FailedPreconditionError) as failure:
        answered(client, "long", [("system", "be brief"), ("user", QUESTION)])
    assert failure.value.reason == "NO_CHAT_TEMPLATE"
    assert answered(client, "long", "x" * 200)[1].prompt_tokens == 200


def test_the_model_stops_when_the_caller_leaves(client) -> None:
    tell(client, "leaves")
    for _ in range(30):  # more than there is room for at once
        tokens = client.generate("leaves", QUESTION, max_tokens=32_768)
        assert next(tokens).recalled is not None
        next(tokens)
        tokens.close()
    assert answered(client, "leaves")[1].completion_tokens == 24


def test_a_model_that_is_not_here_is_named(client, tmp_path) -> None:
    with pytest.raises(FailedPreconditionError, match="it has: small@"):
        client.create_tenant("t", context_memory="nowhere")
    with pytest.raises(InvalidArgumentError) as failure:
        client.create_tenant("t", context_memory="../small")
    assert failure.value.field == "tenant.context_memory"
    said = refused(Server(tmp_path / "data", backbone=f"titans-mac:{tmp_path / 'nowhere'}"))
    assert "no file or folder" in said
