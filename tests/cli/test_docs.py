"""What the documentation says of the code, where a machine can tell."""

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from memsvc import limits
from memsvc.cli import output
from memsvc.cli.main import make_app

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("tenant and entry ids", f"1 to {limits.MAX_ID_BYTES} bytes of UTF-8, no control characters"),
        ("session", f"{limits.MAX_SESSION_BYTES} bytes"),
        ("role", f"{limits.MAX_ROLE_BYTES} bytes"),
        ("text of an entry", f"1 byte to {limits.MAX_TEXT_BYTES // 1024} KiB"),
        ("metadata of an entry", f"{limits.MAX_METADATA_BYTES // 1024} KiB"),
        ("ids in one `forget`", f"{limits.MAX_FORGET_IDS:,}"),
        ("ids in one `feedback`", f"{limits.MAX_FEEDBACK_IDS:,}"),
        ("batch", f"{limits.MAX_BATCH_ENTRIES:,} entries, {limits.MAX_MESSAGE_BYTES // 2**20} MiB"),
        ("message", f"{limits.MAX_MESSAGE_BYTES // 2**20} MiB"),
        ("hits (`k`)", f"{limits.MAX_K:,}"),
        ("neighbours of a hit", f"{limits.MAX_NEIGHBOURS} before, {limits.MAX_NEIGHBOURS} after"),
        ("context (`max_tokens`)", f"{limits.MAX_CONTEXT_TOKENS:,} tokens"),
        ("page of a listing", f"{limits.MAX_PAGE_SIZE:,}"),
    ],
)
def test_the_limits_are_those_of_the_code(row, says):
    assert f"| {row} | {says} |" in (ROOT / "docs" / "concepts.md").read_text()


def test_the_exit_codes_are_those_of_the_code():
    refused = f"{output.FAILED} refused or a check failed, {output.USAGE} wrong arguments, {output.NO_SERVER} no server"
    assert f"0 done, {refused}" in (ROOT / "README.md").read_text()


def test_every_command_that_the_readme_shows_exists(memsvc):
    shown = set(re.findall(r"^    (?:\.venv/bin/)?memsvc (\w+)", (ROOT / "README.md").read_text(), re.MULTILINE))
    assert {"serve", "ingest", "recall", "stats", "tenants", "demo", "bench"} <= shown
    assert all(memsvc(command, "--help").code == 0 for command in shown)


def shown() -> Iterator[tuple[str, list[str]]]:
    """Yield every command in the documentation: where it stands, and its words."""
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        for number, line in enumerate(page.read_text().splitlines(), 1):
            found = re.match(r"(?:    |)(?:MEMSVC_\S+ )?(?:\.venv/bin/)?memsvc (.+)", line)
            if found:
                yield f"{page.name}:{number}", shlex.split(re.sub(r"[\[\]…]", " ", found[1]), comments=True)


def test_every_command_takes_the_options_that_the_documentation_gives_it():
    lines = list(shown())
    for where, words in lines:
        command, rest = typer.main.get_command(make_app()), words
        while rest and rest[0] in (below := getattr(command, "commands", {})):
            command, rest = below[rest[0]], rest[1:]
        named = {option for each in command.params for option in (*each.opts, *each.secondary_opts)}
        given = {word.partition("=")[0] for word in rest if re.match(r"--?[a-z]", word)}
        assert given <= named, (where, given - named)
    assert len(lines) > 50


def test_every_dependency_is_explained_and_pinned_where_the_tests_need_it():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    names = {re.split(r"[^\w-]", spec)[0] for group in (project["dependencies"], *extras.values()) for spec in group}
    text = (ROOT / "docs" / "dependencies.md").read_text()
    explained = {name for name in names if re.search(rf"\b{name}\b", text) or name.startswith("types-")}
    assert names - explained <= {"memsvc"}
    used = {re.split(r"[^\w-]", spec)[0] for name in ("server", "bench", "dev") for spec in extras[name]}
    pinned = set(re.findall(r"^([\w-]+)==", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    assert used - pinned == {"memsvc"}
