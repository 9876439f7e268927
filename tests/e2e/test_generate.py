"""Answers end to end: a server, a model's server behind it, clients and the command line."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from memsvc_client import AsyncMemoryClient, Entry, FailedPreconditionError, UnavailableError

from tests.backbone.stub_openai import Behaviour, Exchange, Stub, answers, refuses
from tests.serving import Server, refused

KEY = "sk-a-secret-that-nobody-else-is-shown"
PATIENCE_S = 60


@asynccontextmanager
async def answering(path: Path, *behaviours: Behaviour) -> AsyncIterator[tuple[Stub, Server, AsyncMemoryClient]]:
    (path / "key").write_text(KEY)
    async with Stub(*behaviours).serve() as stub:
        settings = {"backbone": f"openai:{stub.url}", "backbone_model": "m", "backbone_key_file": path / "key"}
        server = Server(path / "data", log_level="debug", **settings)
        await asyncio.to_thread(server.start)
        try:
            async with AsyncMemoryClient(server.target) as client:
                await client.create_tenant("ada")
                yield stub, server, client
        finally:
            assert await asyncio.to_thread(server.stop) == 0


async def run(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run `memsvc` as a process: the stub lives on this one's loop."""
    command = [sys.executable, "-m", "memsvc.cli.main", *arguments]
    return await asyncio.to_thread(
        subprocess.run, command, input=stdin, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )


async def test_a_question_is_answered_from_the_memory_and_remembered(tmp_path) -> None:
    async with answering(tmp_path, answers("It is ", "blue.", usage={"prompt_tokens": 7, "completion_tokens": 2})) as (
        stub,
        server,
        client,
    ):
        await client.write("ada", [Entry("the door is blue", id="door"), Entry("gattaca", id="other")])
        tokens = [t async for t in client.generate("ada", "which colour is the door?", k=1, remember=True)]
        assert [hit.id for hit in tokens[0].recalled] == ["door"]
        assert "".join(token.text for token in tokens) == "It is blue."
        assert (tokens[-1].usage.prompt_tokens, tokens[-1].usage.completion_tokens) == (7, 2)
        assert [e.text async for e in client.list_entries("ada", role="assistant")] == ["It is blue."]
        (asked,) = stub.requests
        assert asked.headers["authorization"] == f"Bearer {KEY}"
        (message,) = asked.body["messages"]
        assert message["role"] == "user"
        assert "the door is blue" in message["content"]
        assert message["content"].endswith("which colour is the door?")
        for secret in (KEY, "the door is blue", "which colour", "It is blue"):
            assert secret not in server.log


async def test_a_model_that_fails_in_the_middle_leaves_nothing_and_the_next_answer_is_well(tmp_path) -> None:
    async def cut(to: Exchange) -> None:
        await to.stream()
        await to.text("It is")
        to.cut()

    async with answering(tmp_path, cut, answers("blue")) as (_, _, client):
        with pytest.raises(UnavailableError) as failure:
            async for _ in client.generate("ada", "which?", remember=True):
                pass
        assert failure.value.reason == "BACKBONE_FAILED"
        assert [e async for e in client.list_entries("ada")] == []
        assert [t.text async for t in client.generate("ada", "which?")][1] == "blue"


async def test_a_key_that_the_model_does_not_take_is_the_operators_fault_and_not_the_callers(tmp_path) -> None:
    async with answering(tmp_path, refuses(401, {"message": f"no such key {KEY}"})) as (_, server, client):
        with pytest.raises(FailedPreconditionError) as failure:
            async for _ in client.generate("ada", "which?"):
                pass
        assert failure.value.reason == "BACKBONE_REFUSED"
        assert KEY not in str(failure.value)
        assert KEY not in server.log


async def test_the_command_line_answers_and_talks(tmp_path) -> None:
    async with answering(tmp_path, answers("blue", usage={"prompt_tokens": 5, "completion_tokens": 1})) as (
        stub,
        server,
        client,
    ):
        await client.write("ada", Entry("the door is blue", id="door"))
        target = ("--target", server.target)
        done = await run("generate", "ada", "the door?", "--json", "--seed", "4", "--stop", "END", *target)
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        assert (told["text"], told["recalled"]["hits"][0]["id"]) == ("blue", "door")
        assert (told["usage"]["finish"], told["usage"]["prompt_tokens"]) == ("stop", 5)
        assert (stub.requests[-1].body["seed"], stub.requests[-1].body["stop"]) == (4, ["END"])
        done = await run("generate", "ada", "-", *target, stdin="and the door?")
        assert (done.returncode, done.stdout) == (0, "blue\n")
        assert "1 recalled" in done.stderr
        lines = "the door?\n\nand now?\n/quit\nno more\n"
        done = await run("chat", "ada", "--system", "be brief", *target, stdin=lines)
        assert (done.returncode, done.stdout) == (0, "blue\nblue\n")
        roles = [message["role"] for message in stub.requests[-1].body["messages"]]
        assert roles == ["system", "user", "assistant", "user"]
        texts = [e.text async for e in client.list_entries("ada", session="chat")]
        assert texts == ["the door?", "blue", "and now?", "blue"]


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"backbone": "gpt"}, "backbone"),
        ({"backbone": "openai:"}, "backbone"),
        ({"backbone": "openai:ftp://x"}, "backbone"),
        ({"backbone": "openai:http://127.0.0.1:9/v1", "backbone_key_file": "/nowhere/key"}, "backbone_key_file"),
    ],
)
def test_a_setting_that_is_wrong_is_named_at_the_start(tmp_path, settings, named) -> None:
    assert f"{named}: " in refused(Server(tmp_path / "data", **settings))
