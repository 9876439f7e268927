"""HTTP clients for tests, and what the OpenAPI document says of what they get."""

import re
from functools import cache
from typing import Any

import httpx2
from jsonschema import Draft202012Validator

from memsvc.gateway.openapi import document
from tests.serving import Server

JSON = {"content-type": "application/json"}


def url(server: Server) -> str:
    """Return where a server's gateway listens."""
    return re.findall(r"url=(https?://\S+)", server.log)[-1]


def http(server: Server, key: str = "", **options: Any) -> httpx2.Client:
    headers = {"authorization": f"Bearer {key}"} if key else {}
    return httpx2.Client(base_url=url(server), headers=headers, timeout=30, trust_env=False, **options)


@cache
def described() -> dict[str, Any]:
    return document()


def conforms(call: str, answer: httpx2.Response) -> Any:
    """Return the JSON of an answer that serves, once it is what the document says of that call's."""
    assert answer.status_code == 200, answer.text
    operation = next(o for path in described()["paths"].values() for o in path.values() if o["operationId"] == call)
    schema = operation["responses"]["200"]["content"][answer.headers["content-type"]]["schema"]
    Draft202012Validator({**schema, "components": described()["components"]}).validate(answer.json())
    return answer.json()


def problem(answer: httpx2.Response, status: int, reason: str) -> dict[str, Any]:
    """Return a problem's details, once it is the expected one."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    found = answer.json()
    Draft202012Validator(described()["components"]["schemas"]["Problem"]).validate(found)
    assert (answer.status_code, found["status"], found["reason"]) == (status, status, reason), found
    assert found["requestId"] == answer.headers["x-request-id"]
    return found


def events(text: str) -> list[tuple[str, str]]:
    """Return the events of a stream: names and data."""
    found = []
    for block in text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if lines:
            found.append((lines["event"], lines["data"]))
    return found
