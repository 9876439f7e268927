"""The TypeScript client: its own tests and its page, against real servers. The make target builds it, types checked."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from memsvc_client import MemoryClient

from tests.backbone.stub_openai import answers
from tests.backbone.stub_thread import serving
from tests.certificates import Authority
from tests.serving import Server

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "clients" / "typescript"


def run(*command: object, **environment: object) -> str:
    """Run a command to its end in the package's directory; return what it said."""
    ran = subprocess.run(
        [str(each) for each in command],
        cwd=PACKAGE,
        env={**os.environ, **{name: str(value) for name, value in environment.items()}},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=250,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout
    return ran.stdout


@pytest.fixture(scope="module")
def built() -> Path:
    """Where the client is, with its tests. `make test` has built it before; alone, a test does it here."""
    run("make", "--no-print-directory", "-C", ROOT, "clients/typescript/dist/built")
    return PACKAGE / "dist"


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    path = tmp_path_factory.mktemp("typescript")
    with (
        serving(answers("It is ", "blue.")) as model,
        Server(path / "data", backbone=f"openai:{model.url}", backbone_model="m") as server,
    ):
        yield server


def test_it_speaks_with_a_server(built, server, tmp_path) -> None:
    authority = Authority(tmp_path)
    pair = authority.issue()
    data = tmp_path / "data"
    memsvc = [sys.executable, "-m", "memsvc.cli.main"]
    key = run(*memsvc, "keys", "create", "mine", "--grant", "mine/*=read,write,admin", "--data", data).split()[-1]
    with Server(data, auth=True, tls_cert=pair.cert, tls_key=pair.key) as secure:
        run(
            "node",
            "--test",
            *(built / "test" / f"{name}.test.js" for name in ("service", "administration")),
            MEMSVC_TARGET=server.target,
            MEMSVC_SECURE_TARGET=secure.target,
            MEMSVC_CA=authority.ca,
            MEMSVC_KEY=key,
        )


@pytest.mark.parametrize("name", ["retries", "streams"])
def test_it_tries_again(built, name) -> None:
    run("node", "--test", built / "test" / f"{name}.test.js")


def test_it_has_what_the_python_client_has(built) -> None:
    """Of a server of one's own too: nobody starts one from here."""
    listing = "console.log(Object.getOwnPropertyNames(m.MemoryClient.prototype).join(' '))"
    named = run("node", "-e", f"import('{built}/src/index.js').then((m) => {listing})").split()
    snake = {re.sub("[A-Z]", lambda capital: f"_{capital[0].lower()}", name) for name in named}
    python = {name for name in vars(MemoryClient) if not name.startswith("_")}
    assert snake - {"constructor"} == python - {"embedded"}


@pytest.mark.parametrize(("part", "last"), [(0, "It is blue."), (1, "restart")])
def test_the_page_runs(built, server, part, last) -> None:
    code = re.findall(r"```typescript\n(.*?)```", (ROOT / "docs" / "typescript.md").read_text(), re.DOTALL)[part]
    # Inside the package its own name is known, to the compiler as to Node.
    page = built / f"page{part}.mts"
    page.write_text(code.replace("127.0.0.1:50051", server.target))
    options = ["--strict", "--module", "nodenext", "--target", "es2022", "--types", "node", "--skipLibCheck"]
    run("node_modules/.bin/tsc", "--ignoreConfig", *options, page)
    said = run("node", built / f"page{part}.mjs").splitlines()
    assert (len(said), said[-1]) == (2, last)


def test_every_part_of_the_page_is_run() -> None:
    assert (ROOT / "docs" / "typescript.md").read_text().count("```typescript") == 2
