"""The client's example, run as a user runs it."""

import os
import subprocess
import sys
from pathlib import Path

from tests.serving import Server

EXAMPLES = Path(__file__).parents[2] / "clients" / "python" / "examples"


def test_a_loop_remembers_the_session_before(tmp_path):
    def said(target: str, session: str, *lines: str) -> list[str]:
        ran = subprocess.run(
            [sys.executable, "-W", "error", EXAMPLES / "loop.py"],
            env={**os.environ, "MEMSVC_TARGET": target, "SESSION": session},
            input="\n".join(lines),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert (ran.returncode, ran.stderr) == (0, "")
        return ran.stdout.splitlines()

    with Server(tmp_path / "data") as server:
        assert said(server.target, "monday", "The key is under the mat.") == ["I know nothing of that yet."]
        (answer,) = said(server.target, "tuesday", "", "Where is the key?")
        assert answer.startswith("I remember {")
        assert "The key is under the mat." in answer
        with server.client() as client:
            roles = [(entry.session, entry.role) for entry in client.list_entries("ada@example.org")]
    assert roles == [(day, role) for day in ("monday", "tuesday") for role in ("user", "assistant")]
