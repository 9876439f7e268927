"""The Python in the documentation runs: a page from top to end, or a piece with what its text takes for given."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.backbone.stub_openai import answers
from tests.backbone.stub_thread import serving
from tests.certificates import Authority
from tests.serving import Server

ROOT = Path(__file__).parents[2]
ADDRESS = "127.0.0.1:50051"
"""Of the server in the documentation."""
FENCED = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)


def python_of(page: str) -> str:
    """Return the Python of a page, each line at its place, so that an error names it."""
    lines, kept, inside = (ROOT / page).read_text().splitlines(), [], False
    for line in lines:
        fence = re.match(r"```(\w*)", line)
        inside = fence[1] == "python" if fence else inside
        kept.append(line if inside and not fence else "")
    return "\n".join(kept)


def run(source: str, directory: Path, target: str = "", **environment: str) -> str:
    assert source.strip()
    script = directory / "page.py"
    script.write_text(source.replace(ADDRESS, target) if target else source)
    ran = subprocess.run(
        [sys.executable, "-W", "error", script],
        cwd=directory,
        env={**os.environ, "MEMSVC_ENCODER": "kmer", "MEMSVC_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, ""), ran.stderr
    return ran.stdout


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    with (
        serving(answers("By its log.")) as model,
        Server(tmp_path_factory.mktemp("docs") / "data", backbone=f"openai:{model.url}", backbone_model="m") as server,
    ):
        yield server


@pytest.mark.parametrize("page", ["docs/langchain.md"])
def test_a_page_runs_against_a_server(page, server, tmp_path):
    assert "By its log." in run(python_of(page), tmp_path, server.target)


@pytest.mark.parametrize("page", ["docs/embedded.md"])
def test_a_page_that_brings_its_server(page, tmp_path):
    assert run(python_of(page), tmp_path).splitlines() == ["The key is under the mat."] * 2


CLIENT = f"from memsvc_client import MemoryClient\nclient = MemoryClient('{ADDRESS}')\n"
MANUAL = f"{CLIENT}client.create_tenant('manual', exist_ok=True)\n"
MODEL = """from langchain_core.language_models import FakeListChatModel
model = FakeListChatModel(responses=['Noted.'])
"""
KEYS = "key = 'msk_a_secret'\ndef read_key():\n    return key\n"
PIECES = {
    ("README.md", 0): ("", "", "durable as record"),
    ("README.md", 1): (MANUAL, "", "By its log."),
    ("README.md", 2): (MODEL, CLIENT + "print([e.text for e in client.list_entries('ada')][-2:])", "mat.', 'Noted.'"),
    ("README.md", 3): ("import os\nfrom memsvc_client import TLS, MemoryClient\n", "print(client)", "memory.example"),
    ("docs/backbones.md", 0): (MANUAL, "print(sources)", "By its log."),
    ("docs/deployment.md", 0): (KEYS, "print('made')", "made"),
}


@pytest.mark.parametrize(("page", "number"), PIECES)
def test_a_piece_runs_with_what_its_text_takes_for_given(page, number, server, tmp_path):
    pair = Authority(tmp_path, "ca").issue("me")
    (tmp_path / "ca.pem").write_bytes((tmp_path / "ca.crt").read_bytes())
    (tmp_path / "me.crt").write_bytes(pair.cert.read_bytes())
    before, after, said = PIECES[page, number]
    piece = FENCED.findall((ROOT / page).read_text())[number]
    assert said in run(f"{before}{piece}\n{after}", tmp_path, server.target, MEMSVC_API_KEY="msk_a_secret")


def test_what_a_client_sees_of_a_quota(tmp_path):
    """An except clause, behind what raises what it catches."""
    (piece,) = FENCED.findall((ROOT / "docs/quotas.md").read_text())
    said = re.findall(r"# (\{.*?\})", piece)
    before = f"from memsvc_client import ResourceExhaustedError\n{CLIENT}client.create_tenant('ada')\ntry:\n"
    tried = "    client.write('ada', ['x', 'y'])\n"
    after = "    print(error.metadata.keys() == " + said[0] + ".keys(), error.retry_after)"
    with Server(tmp_path / "data", quotas__tenant__entries=1) as server:
        assert run(f"{before}{tried}{piece}{after}", tmp_path, server.target) == "True None\n"


def test_what_the_native_model_answers(tmp_path):
    piece = FENCED.findall((ROOT / "docs/backbones.md").read_text())[1]
    with Server(tmp_path / "data", backbone="titans-mac:text") as server:
        assert run(CLIENT + piece, tmp_path, server.target).strip().startswith("48213")


def test_every_piece_of_python_is_run():
    """Here, or where the page has tests of its own."""
    wholes = {"docs/langchain.md", "docs/embedded.md", "docs/mcp.md"}
    run_here = {*PIECES, ("docs/quotas.md", 0), ("docs/backbones.md", 1)}
    pages = ["README.md", *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]
    pieces = {(page, n) for page in pages for n in range(len(FENCED.findall((ROOT / page).read_text())))}
    assert {(page, n) for page, n in pieces if page not in wholes} == run_here
