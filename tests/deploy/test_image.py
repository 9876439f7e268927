"""What the Dockerfile promises, where that can be told without building it. `make lint` runs hadolint on it."""

import json
import re
import tomllib
from importlib.metadata import PackageNotFoundError, distribution

from dockerfile_parse import DockerfileParser
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from typer.main import get_command

from memsvc.cli.main import make_app
from tests.deploy.composition import ROOT, services

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PARSED = DockerfileParser(str(ROOT / "Dockerfile"))
STEPS = [(step["instruction"], step["value"]) for step in PARSED.structure if step["instruction"] != "COMMENT"]


def stages() -> dict[str, list[tuple[str, str]]]:
    """Return the steps of each stage."""
    found: dict[str, list[tuple[str, str]]] = {}
    for instruction, value in STEPS:
        if instruction == "FROM":
            found[value.rpartition(" ")[2]] = []
        if found:
            found[list(found)[-1]].append((instruction, value))
    return found


def test_processors_are_the_default_and_each_service_has_its_stage():
    assert list(stages())[-1] == "cpu"
    built = {services()[name]["build"]["target"] for name in ("memsvc", "memsvc-gpu")}
    assert built == {"cpu", "gpu"} <= set(stages())


def test_what_runs_is_nobody_who_matters():
    runtime = dict(stages()["runtime"])
    assert runtime["USER"] == services()["memsvc"]["user"] == "10001:10001"
    for name in ("cpu", "gpu"):
        assert [instruction for instruction, _ in stages()[name]] == ["FROM", "COPY"]


def test_the_bases_are_pinned_to_a_python_that_will_do():
    arguments = dict(value.split("=", 1) for instruction, value in STEPS if instruction == "ARG" and "=" in value)
    python = re.fullmatch(r"(\d+\.\d+\.\d+)-slim-\w+", arguments["PYTHON"])[1]
    assert python in SpecifierSet(PROJECT["requires-python"])
    bases = {value.split()[0] for instruction, value in STEPS if instruction == "FROM"}
    assert bases - set(stages()) == {"python:${PYTHON}"}


def test_what_is_copied_is_there_and_not_left_out():
    kept = {
        line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")
    }
    for instruction, value in STEPS:
        if instruction == "COPY" and not value.startswith("--from"):
            for source in value.split()[:-1]:
                assert (ROOT / source).exists()
                assert source.removeprefix("./").split("/")[0] in kept


def test_the_commands_exist():
    commands = set(get_command(make_app()).commands)
    runtime = dict(stages()["runtime"])
    assert json.loads(runtime["ENTRYPOINT"]) == ["memsvc"]
    assert json.loads(runtime["CMD"])[0] in commands
    assert json.loads(runtime["HEALTHCHECK"].partition("CMD ")[2])[1] in commands


def test_the_extras_exist():
    asked = re.findall(r'"memsvc\[([\w,]+)\]"', (ROOT / "Dockerfile").read_text())
    assert len(asked) == 2
    for extras in asked:
        assert set(extras.split(",")) <= set(PROJECT["optional-dependencies"])


def test_what_builds_the_wheel_is_pinned():
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    (installed,) = [
        value for instruction, value in stages()["wheel"] if instruction == "RUN" and "pip install" in value
    ]
    for name in {Requirement(requirement).name for requirement in build}:
        assert name in installed.split()
        assert f"\n{name}==" in (ROOT / "constraints.txt").read_text()


def test_every_package_that_is_installed_is_pinned():
    """What the packages of the image bring, as they are installed here."""
    pinned = set(re.findall(r"^([\w.-]+)==", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    dockerfile = (ROOT / "Dockerfile").read_text()
    (extras,) = [found for found in re.findall(r'"memsvc\[([\w,]+)\]"', dockerfile) if "gpu" not in found]
    asked = [Requirement(f"memsvc[{extras}]"), *map(Requirement, PROJECT["dependencies"])]
    seen: set[tuple[str, str]] = set()
    while asked:
        requirement = asked.pop()
        name = canonicalize_name(requirement.name)
        for extra in ("", *requirement.extras):
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            if name == "memsvc":
                asked += map(Requirement, PROJECT["optional-dependencies"].get(extra, []))
                continue
            try:
                brought = map(Requirement, distribution(name).requires or [])
            except PackageNotFoundError:  # of another platform
                continue
            asked += [each for each in brought if each.marker is None or each.marker.evaluate({"extra": extra})]
    assert len(seen) > 50
    assert {name for name, _ in seen} - {canonicalize_name(name) for name in pinned} == {"memsvc"}
