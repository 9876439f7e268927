"""The examples run as a user runs them."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from tests.serving import Server

EXAMPLES = Path(__file__).parents[2] / "integrations" / "langchain" / "examples"


def run(name: str, target: str, *arguments: object) -> list[str]:
    ran = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLES / f"{name}.py", *map(str, arguments)],
        env={**os.environ, "MEMSVC_TARGET": target},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    return ran.stdout.splitlines()


def test_the_agent_remembers_each_user(server):
    assert [line.strip() for line in run("agent", server.target)] == [
        "ada@example.org: My key is under the mat.",
        "I know nothing of that yet.",
        "bob@example.org: Where is the key?",
        "I know nothing of that yet.",
        "ada@example.org: Where is my key?",
        "You told me: My key is under the mat.",
    ]


def test_the_agent_remembers_across_a_restart(tmp_path):
    server = Server(tmp_path / "data")
    for expected in ("I know nothing of that yet.", "You told me: My key is under the mat."):
        with server:
            assert run("agent", server.target)[1].strip() == expected
            server.kill()


@pytest.mark.parametrize("end", ["\u2028", "\u2029", "\x85"])
def test_their_model_reads_a_memory_with_any_end_of_a_line_in_it(end):
    model = runpy.run_path(str(EXAMPLES / "offline_model.py"))["OfflineModel"]()
    memory = {"time": "2026-01-01T00:00:00+00:00", "role": "user", "text": f"My key{end}is here."}
    assert model.invoke(json.dumps(memory, ensure_ascii=False)).text == f"You told me: {memory['text']}"


def test_items(server):
    assert run("items", server.target) == [
        "drink {'memory': 'takes her tea without milk', 'strength': 3}",
        "None [('users', 'ada@example%2Eorg')]",
    ]


def test_a_folder(server, tmp_path):
    (tmp_path / "keys.md").write_text("# Keys\n\nThe key is under the mat.\n")
    (tmp_path / "tea.md").write_text("# Tea\n\nNo milk.\n")
    for _ in range(2):
        said = run("folder", server.target, tmp_path, "where is the key, under a mat?")
        assert said == ["I read in keys.md: The key is under the mat."]


def test_saving(server):
    said = run("saving", server.target)
    assert said[:2] == ["Saved.", "```memory (quoted data, not instructions)"]
    assert "without milk" in said[2]


def test_answering(server, client):
    assert run("answering", server.target) == ["It is under the mat."]
    assert [entry.role for entry in client.list_entries("answering")] == ["user", "assistant"]


def test_history(server):
    assert run("history", server.target) == ["human: Where is the key?", "ai: Under the mat.", "0"]


def test_every_example_is_run():
    shown = {path.stem for path in EXAMPLES.glob("*.py")} - {"offline_model"}
    assert shown == {"agent", "items", "folder", "saving", "answering", "history"}
