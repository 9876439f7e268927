"""docker-compose.yml, as tests read it, and the secrets that it hands out."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]


def compose() -> dict[str, Any]:
    """Return the file's content."""
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text())


def services() -> dict[str, dict[str, Any]]:
    return compose()["services"]


def memory(value: str) -> int:
    """Return bytes of what Docker or Redis is told."""
    number, unit = re.fullmatch(r"(\d+)([kmg])b?", value).groups()
    return int(number) << {"k": 10, "m": 20, "g": 30}[unit]


def make_secrets(directory: Path, *hosts: str) -> Path:
    """Run deploy/secrets.sh on a copy; return the folder of secrets. Skip the test without openssl."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl to make secrets with")
    directory.mkdir(parents=True, exist_ok=True)
    script = shutil.copy(ROOT / "deploy" / "secrets.sh", directory)
    subprocess.run([script, *hosts], check=True, capture_output=True, timeout=60)
    return directory / "secrets"
