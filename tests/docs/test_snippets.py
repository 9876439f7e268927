"""The Python in the documentation runs as it stands, a page from its top to its end."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.backbone.stub_openai import answers
from tests.backbone.stub_thread import serving
from tests.serving import Server

ROOT = Path(__file__).parents[2]
ADDRESS = "127.0.0.1:50051"
"""Of the server in the documentation."""


def python_of(page: str) -> str:
    """Return the Python of a page, each line at its place, so that an error names it."""
    lines, kept, inside = (ROOT / page).read_text().splitlines(), [], False
    for line in lines:
        fence = re.match(r"```(\w*)", line)
        inside = fence[1] == "python" if fence else inside
        kept.append(line if inside and not fence else "")
    return "\n".join(kept)


def run(page: str, directory: Path, target: str = "") -> str:
    source = python_of(page)
    assert source.strip()
    script = directory / "page.py"
    script.write_text(source.replace(ADDRESS, target) if target else source)
    environment = {**os.environ, "MEMSVC_ENCODER": "kmer", "MEMSVC_THREADS": "1"}
    ran = subprocess.run(
        [sys.executable, "-W", "error", script],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, ""), ran.stderr
    return ran.stdout


@pytest.mark.parametrize("page", ["docs/langchain.md"])
def test_a_page_runs_against_a_server(page, tmp_path):
    with (
        serving(answers("By its log.")) as model,
        Server(tmp_path / "data", backbone=f"openai:{model.url}", backbone_model="m") as server,
    ):
        assert "By its log." in run(page, tmp_path, server.target)


@pytest.mark.parametrize("page", ["docs/embedded.md"])
def test_a_page_that_brings_its_server(page, tmp_path):
    assert run(page, tmp_path).splitlines() == ["The key is under the mat."] * 2
