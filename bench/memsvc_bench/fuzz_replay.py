"""Inputs as files, to be sent again: what was sent when something that must hold did not, one JSON object each."""

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

from memsvc_bench.fuzz_decoding import Failure
from memsvc_bench.fuzz_http2 import Ending, Wire
from memsvc_bench.fuzz_messages import Call

Step: TypeAlias = Call | Wire | Failure
"""What is sent to a server by a call or on a raw socket, or fed to a decoder."""


def write(file: Path, why: str, steps: Sequence[Step]) -> None:
    """Write what was sent, and what came of it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"why": why, "steps": [_values(step) for step in steps]}, indent=1) + "\n")


def read(text: str) -> list[Step]:
    """Return what a file says was sent.

    Raises:
        ValueError: it is no such file.
    """
    try:
        return [_step(values) for values in json.loads(text)["steps"]]
    except (KeyError, TypeError) as error:
        raise ValueError(f"no file of inputs: {error}") from error


def _values(step: Step) -> dict[str, Any]:
    match step:
        case Call():
            return {
                "call": step.path,
                "requests": [_text(r) for r in step.requests],
                "leave": step.leave_after_s,
                "makes": step.makes,
            }
        case Wire():
            return {"wire": step.kind, "pieces": [_text(p) for p in step.pieces], "ending": step.ending}
    return {"decoder": step.decoder, "data": _text(step.data), "why": step.why}


def _step(values: dict[str, Any]) -> Step:
    if "call" in values:
        return Call(
            values["call"], [*map(base64.b64decode, values["requests"])], values.get("leave"), values.get("makes", "")
        )
    if "wire" in values:
        return Wire(values["wire"], [*map(base64.b64decode, values["pieces"])], Ending(values["ending"]))
    return Failure(values["decoder"], base64.b64decode(values["data"]), values.get("why", ""))


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
