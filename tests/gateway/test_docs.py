"""What docs/http.md says, run and read."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from memsvc.gateway import bodies, connection, forwarded, gateway
from memsvc.gateway.conversion import SMALL_BYTES
from memsvc.gateway.problems import STATUSES
from memsvc.gateway.routes import ROUTES
from memsvc.gateway.transcode import MOST_OBJECTS
from tests.gateway.http import url

TEXT = (Path(__file__).parents[2] / "docs" / "http.md").read_text()
COMMANDS = [
    command.strip()
    for block in re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)
    for command in re.split(r"\n(?=curl)", block)
    if command.strip()
]


@pytest.mark.skipif(shutil.which("curl") is None, reason="the commands are curl's")
def test_every_command_does_what_it_says(server) -> None:
    env = {**os.environ, "URL": url(server), "MEMSVC_API_KEY": "unused", "no_proxy": "*"}
    said = []
    for command in COMMANDS:
        ran = subprocess.run(
            ["sh", "-c", command.replace("curl -s", "curl --fail-with-body --max-time 20 -s")],
            env=env, capture_output=True, text=True, check=False,
        )  # fmt: skip
        said.append(json.loads(ran.stdout))
        assert ran.returncode == 0 or said[-1]["reason"] == "NO_BACKBONE", (command, ran)
    created, written, recalled, listed, updated, forgotten, tenants, answered, document = said
    assert created["tenant"] == "ada"
    assert [each["id"] for each in written["results"]] == ["key-1", "key-2"]
    assert {hit["entry"]["id"] for hit in recalled["hits"]} == {"key-1", "key-2"}
    assert "quoted data" in recalled["context"]
    assert [each["id"] for each in listed["entries"]] == ["key-1"]
    assert int(updated["seq"]) > int(written["seq"])
    assert forgotten["entries"] == "1"
    assert [each["tenant"] for each in tenants["tenants"]] == ["ada"]
    assert answered["reason"] == "NO_BACKBONE"
    assert document["openapi"] == "3.1.1"


def test_the_example_of_an_error_is_one(client) -> None:
    (shown,) = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL)]
    client.post("/v1/tenants", json={"tenant": "example"})
    found = client.post("/v1/tenants/example/recall", json={"query": "x", "k": 5000}).json()
    assert {**found, "requestId": ""} == {**shown, "requestId": ""}


def test_every_route_is_in_the_table() -> None:
    said = re.findall(r"^\| `(\w+) (\S+)` \| (\w+)", TEXT, re.MULTILINE)
    assert said == [(route.verb, route.path, route.call) for route in ROUTES]


def test_every_status_is_in_the_table() -> None:
    for code, status in STATUSES.items():
        assert re.search(rf"^\| {status.value} \|.*\b{code.name}\b", TEXT, re.MULTILINE), code


@pytest.mark.parametrize(
    "words",
    [
        f"The head of a request has {connection.HEAD_S:g} s, its body {bodies.BODY_S:g} s",
        f"an answer that nobody reads {connection.STALL_S:g} s",
        f"413 for one of more than {bodies.MOST_BYTES >> 20} MiB",
        f"All bodies together have {bodies.MOST_HELD_BYTES >> 20} MiB beyond the first {bodies.SMALL_BYTES >> 10} KiB",
        f"JSON of more than {SMALL_BYTES >> 10} KiB",
        f"{MOST_OBJECTS:,} objects at most",
        f"Without it {forwarded.DEFAULT_S:g} s, ten minutes for an answer",
    ],
)  # fmt: skip
def test_limits_are_those_of_the_code(words) -> None:
    assert words in TEXT
    assert (forwarded.ANSWER_S, gateway.MOST_CONNECTIONS) == (600, 1024)
