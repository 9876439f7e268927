"""Answers as server-sent events."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2

from tests.backbone.stub_openai import Behaviour, Exchange, Stub, answers, refuses
from tests.gateway.http import conforms, events, problem, url
from tests.observability.eventually import eventually
from tests.serving import Server

ASK = {"messages": [{"text": "which colour is the door?"}], "remember": True}


@asynccontextmanager
async def answering(
    path: Path, *behaviours: Behaviour, **more: object
) -> AsyncIterator[tuple[Stub, Server, httpx2.AsyncClient]]:
    async with Stub(*behaviours).serve() as stub:
        settings = {
            "backbone": f"openai:{stub.url}",
            "backbone_model": "m",
            "http_port": 0,
            "log_level": "debug",
            **more,
        }
        server = Server(path / "data", **settings)
        await asyncio.to_thread(server.start)
        try:
            async with httpx2.AsyncClient(base_url=url(server), timeout=30, trust_env=False) as client:
                conforms("CreateTenant", await client.post("/v1/tenants", json={"tenant": "ada"}))
                yield stub, server, client
        finally:
            assert await asyncio.to_thread(server.stop) == 0


async def test_an_answer_comes_event_by_event(tmp_path) -> None:
    async with answering(tmp_path, answers("It is ", "blue.\n\ndata: x")) as (_, _, client):
        await client.post("/v1/tenants/ada/entries", json={"entries": [{"id": "door", "text": "the door is blue"}]})
        answer = await client.post("/v1/tenants/ada/generate", json=ASK)
        assert answer.headers["content-type"].startswith("text/event-stream")
        said = [(name, json.loads(data)) for name, data in events(answer.text)]
        assert [name for name, _ in said] == ["recalled", "text", "text", "finished"]
        assert said[0][1]["recalled"]["hits"][0]["entry"]["id"] == "door"
        assert "".join(data["text"] for name, data in said if name == "text") == "It is blue.\n\ndata: x"
        assert said[-1][1]["finished"]["reason"] == "FINISH_REASON_STOP"
        listed = await client.get("/v1/tenants/ada/entries", params={"filter.role": "assistant"})
        assert [each["text"] for each in listed.json()["entries"]] == ["It is blue.\n\ndata: x"]


async def test_the_model_stops_when_the_caller_leaves(tmp_path) -> None:
    async def talk(to: Exchange) -> None:
        await to.stream()
        await to.text("It is")
        await to.hang()  # says nothing more: only the caller's leaving can end it

    async with answering(tmp_path, talk) as (stub, server, client):
        async with client.stream("POST", "/v1/tenants/ada/generate", json=ASK) as answer:
            async for text in answer.aiter_text():
                if "It is" in text:
                    break
        await asyncio.wait_for(stub.left.wait(), 20)
        assert (await client.get("/v1/tenants/ada/entries")).json()["entries"] == []
        await asyncio.to_thread(eventually, lambda: "code=CANCELLED" in server.log)
        assert "Traceback" not in server.log


async def test_an_error_before_the_first_event_is_a_status_and_after_it_an_event(tmp_path) -> None:
    async def cut(to: Exchange) -> None:
        await to.stream()
        await to.text("It is")
        to.cut()

    async with answering(tmp_path, cut, refuses(401)) as (_, _, client):
        problem(await client.post("/v1/tenants/none/generate", json=ASK), 404, "TENANT_NOT_FOUND")
        problem(await client.post("/v1/tenants/ada/generate", json={}), 400, "INVALID_ARGUMENT")
        answer = await client.post("/v1/tenants/ada/generate", json=ASK)
        *_, (name, data) = events(answer.text)
        told = json.loads(data)
        assert (answer.status_code, name, told["status"], told["reason"]) == (200, "error", 503, "BACKBONE_FAILED")
        assert told["requestId"] == answer.headers["x-request-id"]


async def test_a_deadline_ends_an_answer(tmp_path) -> None:
    async def talk(to: Exchange) -> None:
        await to.stream()
        await to.text("It is")
        await to.hang()

    async with answering(tmp_path, talk) as (stub, _, client):
        asked = client.post("/v1/tenants/ada/generate", json=ASK, headers={"grpc-timeout": "500m"})
        answer = await asyncio.wait_for(asked, 20)  # without a deadline it would be thirty
        *_, (name, data) = events(answer.text)
        assert (name, json.loads(data)["code"]) == ("error", "DEADLINE_EXCEEDED")
        await asyncio.wait_for(stub.left.wait(), 20)


async def test_quotas_are_the_services(tmp_path) -> None:
    limits = {"quotas__tenant__entries": 2, "quotas__tenants": '{"busy": {"requests_per_s": 1}}', "quotas__burst_s": 1}
    async with answering(tmp_path, answers("x"), **limits) as (_, _, client):
        three = {"entries": [{"text": "a"}, {"text": "b"}, {"text": "c"}]}
        full = await client.post("/v1/tenants/ada/entries", json=three)
        found = problem(full, 429, "QUOTA_EXCEEDED")
        assert (found["metadata"]["quota"], found["metadata"]["scope"]) == ("entries", "tenant")
        assert ("retry-after" in full.headers, "retryAfter" in found) == (False, False)
        asked = [client.get("/v1/tenants/busy") for _ in range(8)]
        late = [answer for answer in await asyncio.gather(*asked) if answer.status_code == 429]
        assert late
        for answer in late:
            found = problem(answer, 429, "QUOTA_EXCEEDED")
            assert int(answer.headers["retry-after"]) >= found["retryAfter"] > 0
