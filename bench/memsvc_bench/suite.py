"""`memsvc bench all`: the kernels, the memory, the peers and what grows, one after the other, on one page.

Every part runs in a process of its own, as its own command would: one process for all would hand the threads, the
flushed subnormals and the grown allocator of each part on to the next.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rich.console import Console

from memsvc_bench import locomo, markdown, plot
from memsvc_bench.asked import AskedProcess
from memsvc_bench.peer_stores import PEERS
from memsvc_bench.report import describe_machine

PARTS: Mapping[str, bool] = MappingProxyType({"kernels": False, "memory": True, "peers": True, "scale": False})
"""What is run, in this order, by the names of the commands, and whether it needs LoCoMo's file."""
PAGE = "page.md"

Part = Mapping[str, Any]
"""A result as `Result.to_json` gives it, with what was `asked`; or why there is none, as `error`."""


def bench(
    folder: Path, *, data: Path | None = None, names: Sequence[str] = tuple(PARTS), quick: bool = False
) -> dict[str, Part]:
    """Return what each part came to; write it as NAME.json into the folder, and all of them as a page with plots.

    Args:
        folder: of the run; a part whose file is there is not run again.
        data: a LoCoMo file.
        names: of the parts; of others the page says nothing.
        quick: whether each runs in its short form, which shows that it works and measures nothing.

    Raises:
        ValueError: the folder holds a part of another run.
        OSError: the folder cannot be written, or the data not read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    machine = describe_machine()
    corpus = None if data is None else locomo.digest(data)
    asked = {name: {"quick": quick, "corpus": corpus if PARTS[name] else None} for name in names}
    parts: dict[str, Part] = {}
    for name in names:
        if PARTS[name] and data is None:
            parts[name] = {"error": "it needs a LoCoMo file (--data)"}
        elif (kept := folder / f"{name}.json").exists():
            parts[name] = _read(kept, {"machine": machine, "asked": asked[name]})
        elif name == "peers" and (missing := [peer.name for peer in PEERS.values() if peer.missing]):
            # Beside fewer it would take long and not be what was asked for.
            parts[name] = {"error": f"not installed: {', '.join(missing)}"}
    left = [name for name in names if name not in parts]
    for number, name in enumerate(left, 1):
        # Lines: a part may draw bars of its own.
        Console(stderr=True, highlight=False).print(f"{name}: {number} of {len(left)}")
        parts[name] = found = _run(name, data, quick=quick)
        if "error" not in found:
            parts[name] = {**found, "asked": asked[name]}
            _write(folder / f"{name}.json", f"{json.dumps(parts[name])}\n")
    parts = {name: parts[name] for name in names}
    plots = {name: plot.draw_all(part, folder) for name, part in parts.items() if "error" not in part}
    command = _command(folder, data, names, quick=quick)
    _write(folder / PAGE, page(command, machine, parts, plots, quick=quick))
    return parts


def holds(part: Part) -> bool:
    """Return whether it was run, and all its checks hold."""
    return "error" not in part and all(check["ok"] for check in part["checks"])


def page(
    command: str,
    machine: Mapping[str, Any],
    parts: Mapping[str, Part],
    plots: Mapping[str, Sequence[str]],
    *,
    quick: bool,
) -> str:
    """Return the page, in Markdown.

    Args:
        command: that made it.
        machine: all parts ran on it.
        parts: by name.
        plots: files beside the page, by the name of the part.
        quick: whether the parts ran in their short forms.
    """
    blocks = ["# Benchmarks", f"`{command}`", markdown.machine(machine)]
    if quick:
        blocks.append("Short forms, to show that all of it works: **no figure here is a measurement**.")
    for name, part in parts.items():
        blocks.append(f"## {name}")
        if "error" in part:
            blocks.append(f"**Not run**: {part['error']}")
            continue
        # A part's own command would run the long form.
        blocks += [*([] if quick else [f"`{part['command']}`"]), *markdown.tables(part)]
        blocks += [f"![{file.removesuffix('.svg').replace('-', ' ')}]({file})" for file in plots[name]]
    return "\n\n".join(blocks) + "\n"


def _read(file: Path, like: Mapping[str, Any]) -> Part:
    """Return a part that was run before.

    Raises:
        ValueError: it is none, or of another run.
    """
    try:
        found: Part = json.loads(file.read_text())
        same = {key: found[key] for key in like} == like
    except (ValueError, KeyError, TypeError):
        same = False
    if not same:
        raise ValueError(f"{file} is of another machine, version, data or form: name another folder, or move it away")
    return found


def _run(name: str, data: Path | None, *, quick: bool) -> Part:
    try:
        with AskedProcess("memsvc_bench.part_process") as process:
            return process.ask("measure", name=name, data=str(data) if data and PARTS[name] else None, quick=quick)
    except RuntimeError as error:
        return {"error": str(error)}


def _command(folder: Path, data: Path | None, names: Sequence[str], *, quick: bool) -> str:
    parts = [f"memsvc bench all --folder {folder.resolve().name}"]
    parts += [f"--data {data.name}"] if data else []
    parts += [f"--only {','.join(names)}"] if tuple(names) != tuple(PARTS) else []
    parts += ["--quick"] if quick else []
    return " ".join(parts)


def _write(file: Path, text: str) -> None:
    """Write a file whole or not at all."""
    new = file.with_suffix(".new")
    new.write_text(text)
    new.replace(file)
