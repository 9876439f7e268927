"""One part of `memsvc bench all`, in a process of its own: `python -m memsvc_bench.part_process`.

It answers one JSON object a line with another, as `suite` asks.
"""

import json
from importlib import import_module
from pathlib import Path
from typing import Any

from memsvc.errors import MemsvcError
from memsvc_bench.asked import answer
from memsvc_bench.report import Result


def measure(name: str, *, data: str | None, quick: bool) -> dict[str, Any]:
    """Run a benchmark.

    Args:
        name: of its module, which has `bench`, and the scales `FULL` and `QUICK`.
        data: a LoCoMo file, if it needs one.
        quick: which scale.

    Returns:
        its result as `Result.to_json` gives it, or why there is none, as `error`.
    """
    # No other benchmark's libraries are loaded beside it.
    benchmark: Any = import_module(f"memsvc_bench.{name}")
    try:
        result: Result = benchmark.bench(
            *([] if data is None else [Path(data)]), scale=benchmark.QUICK if quick else benchmark.FULL
        )
    except (MemsvcError, OSError, ValueError, RuntimeError) as error:
        return {"error": str(error)}
    found: dict[str, Any] = json.loads(result.to_json())
    return found


if __name__ == "__main__":
    answer({"measure": measure})
