"""What an OpenAI-compatible server is set up with, and asked at the start."""

import subprocess
import sys

import pytest

from memsvc.backbone.load import BackboneConfig, load_backbone
from memsvc.errors import FailedPreconditionError, InvalidArgumentError
from tests.backbone.stub_caller import build, gather
from tests.backbone.stub_openai import Stub, answers, lists, refuses


async def test_the_only_model_needs_no_name() -> None:
    stub = Stub(lists("the-one"), answers("a"))
    async with stub.serve():
        backbone = build(stub.url, model="")
        await backbone.start()
        await gather(backbone)
        await backbone.close()
    assert [request.path for request in stub.requests] == ["/v1/models", "/v1/chat/completions"]
    assert stub.requests[1].body["model"] == "the-one"


@pytest.mark.parametrize(
    ("models", "says"), [((), "has 0 models"), (("b", "a"), "has 2 models; set one of them: b, a")]
)
async def test_of_several_models_one_must_be_named(models, says) -> None:
    async with Stub(lists(*models)).serve() as stub:
        backbone = build(stub.url, model="")
        with pytest.raises(FailedPreconditionError, match=says):
            await backbone.start()
        await backbone.close()


@pytest.mark.parametrize("body", ["not JSON", "[]", '{"data": "m"}', '{"data": [{"id": 5}]}', "x" * (2 << 20)])
async def test_a_list_of_models_that_is_none(body) -> None:
    async with Stub(refuses(200, body)).serve() as stub:
        backbone = build(stub.url, model="", retries=0)
        with pytest.raises(FailedPreconditionError, match=r"asked for its models") as caught:
            await backbone.start()
        assert caught.value.reason == "BACKBONE_FAILED"
        await backbone.close()


@pytest.mark.parametrize(("set_to", "has"), [(0, 2048), (100, 100)])
async def test_with_a_model_named_the_server_need_not_be_up_at_the_start(set_to, has) -> None:
    name = "openai:http://127.0.0.1:1/v1"
    backbone = load_backbone(BackboneConfig(name=name, model="m", context_tokens=set_to))
    await backbone.start()
    backbone.forget("t")
    assert (backbone.name, backbone.context_tokens(window=1024)) == (name, has)
    await backbone.close()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:8000",
        "ftp://host/v1",
        "http://",
        "http://me:hunter2@host/v1",
        "http://host/v1?k=hunter2",
        "http://h#",
    ],
)
def test_urls_that_are_none(url) -> None:
    with pytest.raises(InvalidArgumentError, match=r"^backbone: ") as caught:
        build(url)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("key", ["geheimß", "hunter2\n", "a\x00hunter2"])
def test_keys_that_are_none(key) -> None:
    with pytest.raises(InvalidArgumentError, match=r"^backbone_key_file: ") as caught:
        build("http://host/v1", api_key=key)
    assert key not in str(caught.value)


def test_without_the_extra_it_says_which() -> None:
    code = "import sys; sys.modules['openai'] = None; import memsvc.backbone.openai"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "FailedPreconditionError" in done.stderr.splitlines()[-1]
    assert "pip install 'memsvc[openai]'" in done.stderr
