"""Build hook: generates the protobuf and gRPC stubs into memsvc/v1, so every install has them and no commit does."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class StubsHook(BuildHookInterface):  # type: ignore[type-arg]  # hatchling leaves its configuration type open
    """Runs protoc over protos/memsvc/v1."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Generate the stubs beside the package that imports them."""
        generate(Path(self.root))


def generate(root: Path) -> None:
    """Write `memsvc/v1/*_pb2*.py` and their type stubs under root.

    Raises:
        subprocess.CalledProcessError: protoc refused a file; its message is on stderr.
    """
    protos = sorted((root / "protos" / "memsvc" / "v1").glob("*.proto"))
    out = root / "memsvc" / "v1"
    out.mkdir(parents=True, exist_ok=True)
    (out / "__init__.py").write_text('"""Generated from protos/memsvc/v1; not for editing."""\n')
    # What the comments say goes into the gateway's OpenAPI document.
    described = [f"--descriptor_set_out={out / 'api.binpb'}", "--include_source_info"]
    target = [f"--{kind}={root}" for kind in ("python_out", "grpc_python_out", "mypy_out", "mypy_grpc_out")]
    command = [
        sys.executable,
        "-m",
        "grpc_tools.protoc",
        f"-I{root / 'protos'}",
        *described,
        *target,
        *map(str, protos),
    ]
    # The mypy plugin lies beside the interpreter, which need not be on PATH.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    subprocess.run(command, check=True, env={**os.environ, "PATH": path})


if __name__ == "__main__":
    generate(Path(__file__).parent)
