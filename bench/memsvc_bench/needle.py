"""Needles in a Titans-MAC model's memory: how many are found after two million tokens, and what the memory costs."""

import hashlib
import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from memsvc.backbone.titans_mac import checkpoint
from memsvc.backbone.titans_mac.checkpoint import Loaded
from memsvc_bench import markdown, needle_compute, needle_figures, needle_service
from memsvc_bench.haystack import Kind
from memsvc_bench.needle_facts import facts
from memsvc_bench.needle_plan import FULL, SHIPPED, Scale, passes
from memsvc_bench.needle_run import Task, haystack, prepare, run
from memsvc_bench.report import Check, Result, describe_machine

MODELS = Path(checkpoint.__file__).parent / "models"
"""Where the models are that ship."""
_DENSE = 200
"""Facts of the text that is timed as facts alone."""
_COMPUTE = "compute.json"


def bench(
    preset: Kind,
    folder: Path,
    *,
    model: Path | None = None,
    file: Path | None = None,
    ablations: Mapping[str, Path] | None = None,
    beyond: int = 0,
    threads: int = 2,
    device: str = "cpu",
    scale: Scale = FULL,
) -> Result:
    """`memsvc bench needle`. Writes the result, its tables and its curves into the folder, too.

    Args:
        preset: which model, and what its facts and haystacks are.
        folder: of the run; one that was broken off is gone on with.
        model: another file than the one that ships.
        file: a haystack in place of ours.
        ablations: trained ones, by name.
        beyond: a length past the last, that few streams go on to; 0 for none.
        threads: cores.
        device: what computes the passes, `cpu` or `cuda`; time and first token are always the processor's.
        scale: how much is asked.

    Raises:
        FailedPreconditionError: there is no such model.
        InvalidArgumentError: a server cannot call it as its file is called.
        RuntimeError: the server did not start.
        ValueError: the model is of another kind; the folder holds another run; a haystack cannot be read; lengths or
            `beyond` do not fit.
    """
    path, others = model or MODELS / f"{preset}.safetensors", dict(ablations or {})
    loaded = checkpoint.load(path)
    if loaded.card.get("kind") != preset:
        raise ValueError(f"{path.name} was trained on {loaded.card.get('kind')}, not on {preset}")
    lengths = scale.lengths
    if len(lengths) < 2 or list(lengths) != sorted(set(lengths)) or lengths[0] > scale.short:
        raise ValueError(f"lengths must be two at least, ascending, the first of them at most {scale.short}")
    if beyond and (beyond <= scale.lengths[-1] or beyond % loaded.model.config.chunk):
        raise ValueError(f"beyond must be a multiple of {loaded.model.config.chunk} past {scale.lengths[-1]}")
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device cuda needs a GPU, and there is none")
    task = Task(folder=folder, kind=preset, models={SHIPPED: path, **others}, file=file, device=device)
    told = prepare(task, max(scale.lengths[-1], beyond))
    torch.set_num_threads(1)
    # First: while passes run, no time means anything.
    compute = _compute(task, loaded, scale)
    service = needle_service.through(task, scale)
    asked = passes(preset, scale, loaded.model.config, list(others), beyond)
    passed = run(task, asked, threads=threads)
    rows = needle_figures.merged({each: found.rows for each, found in passed.items()})
    hay = haystack(folder, "unseen")
    figures: dict[str, Any] = {
        "preset": preset,
        "model_sha256": told["models"][SHIPPED],
        "fresh_family_sha256": told["fresh_family"],
        "parameters": sum(weight.numel() for weight in loaded.model.parameters()),
        "window_tokens": loaded.model.config.window,
        "passes_computed_on": ", ".join(sorted({found.device for found in passed.values()})),
        "passes_core_minutes": sum(found.seconds for found in passed.values()) / 60,
        "haystack": file.name if file else "ours",
        "haystack_sha256": hashlib.sha256(hay.numpy().tobytes()).hexdigest(),
        "haystack_tokens": len(hay),
        **needle_figures.curve(rows),
        **service,
        **needle_figures.capacity(rows),
        **needle_figures.niah(rows),
        **needle_figures.ablations(rows),
        **compute["per_token"],
        **compute["by_shape"],
        **compute["by_history"],
        "rows": needle_figures.listed(rows),
    }
    checks = [
        *needle_figures.checks(preset, rows, scale.many, scale.lengths[-1]),
        *needle_service.checks(preset, rows, service, scale),
        *_compute_checks(compute),
    ]
    result = Result(
        machine=describe_machine(),
        command=_command(preset, model, file, others, scale=scale, beyond=beyond, device=device),
        figures=figures,
        checks=checks,
    )
    _write(result, folder)
    return result


def _compute(task: Task, loaded: Loaded, scale: Scale) -> dict[str, Any]:
    file = task.folder / _COMPUTE
    if file.exists():
        found: dict[str, Any] = json.loads(file.read_text())
        return found
    model, hay = loaded.model, haystack(task.folder, "unseen")
    draw = facts(task.kind, "similar", loaded.tokenizer)
    told = draw(random.Random("compute"), _DENSE)  # a seed, no secret
    dense = [token for fact in told for token in (*fact.before, *fact.value, *fact.after)]
    measured = {
        "per_token": needle_compute.per_token(model, hay, dense, chunks=scale.timed, rounds=scale.rounds),
        "by_shape": needle_compute.by_shape(model, hay, chunks=scale.shaped),
        "by_history": needle_compute.by_history(model, hay, told[0], scale.histories, scale.rounds),
    }
    file.write_text(json.dumps(measured))
    return measured


def _compute_checks(compute: Mapping[str, Any]) -> list[Check]:
    ratio = max(row["time_ratio"] for name, row in compute["per_token"].items() if name.startswith("haystack"))
    first, *_, last = (row["first_token_ms"] for row in compute["by_history"].values())
    sizes = {row["state_bytes"] for row in compute["by_history"].values()}
    return [
        Check.at_most("time per token of a haystack, with memory over without", ratio, 1.8),
        Check.at_most("first token after the longest history over the shortest", last / first, 1.2),
        Check.holds("the state takes the same bytes after every history", len(sizes) == 1),
    ]


def _command(
    preset: str,
    model: Path | None,
    file: Path | None,
    others: Mapping[str, Path],
    *,
    scale: Scale,
    beyond: int,
    device: str,
) -> str:
    parts = [f"memsvc bench needle --preset {preset}"]
    parts += [f"--model {model.name}"] if model else []
    parts += [f"--lengths {','.join(map(str, scale.lengths))}"] if scale.lengths != FULL.lengths else []
    parts += [f"--haystack {file.name}"] if file else []
    parts += [f"--ablation {name}={path.name}" for name, path in others.items()]
    parts += [f"--beyond {beyond}"] if beyond else []
    parts += [] if scale.tenants else ["--no-service"]
    parts += [f"--rows {scale.rows}"] if scale.rows != FULL.rows else []
    parts += [f"--device {device}"] if device != "cpu" else []
    return " ".join(parts)


def _write(result: Result, folder: Path) -> None:
    # It takes a second to import.
    from memsvc_bench import plot  # noqa: PLC0415

    text = result.to_json()
    (folder / "result.json").write_text(f"{text}\n")
    (folder / "tables.md").write_text(markdown.render(json.loads(text)))
    plot.needle(result.figures, folder)
