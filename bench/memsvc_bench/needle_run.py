"""The passes of the needle benchmark, computed: on several cores, and gone on with where a run was broken off."""

import functools
import hashlib
import json
import multiprocessing
import os
import threading
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor

from memsvc.backbone.titans_mac import checkpoint
from memsvc.backbone.titans_mac.model import TitansMac
from memsvc.train.needle import NeedleRow, NeedleTest, needle_test
from memsvc_bench import fresh_family
from memsvc_bench.haystack import Kind, haystacks
from memsvc_bench.needle_facts import facts
from memsvc_bench.needle_plan import SHIPPED, Pass
from memsvc_bench.needle_switches import is_switch, switched
from memsvc_bench.progress import told

_RUN, _PASSES, _HAYSTACKS = "run.json", "passes.jsonl", "haystacks.safetensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What is measured, and where it is kept."""

    folder: Path
    """Of the run; what is there is gone on with."""
    kind: Kind
    models: Mapping[str, Path]
    """The model that is measured, by `SHIPPED`, and trained ablations of it by their names."""
    file: Path | None = None
    """A haystack in place of ours."""
    device: str = "cpu"
    """What computes the passes: `cpu` or `cuda`."""


def prepare(task: Task, length: int) -> dict[str, Any]:
    """Make the folder and the haystacks, if they are not there; return what tells this run from others.

    Raises:
        FailedPreconditionError: a model cannot be read.
        ValueError: the folder holds another run; a haystack cannot be made.
    """
    task.folder.mkdir(parents=True, exist_ok=True)
    loaded = {name: checkpoint.load(path) for name, path in task.models.items()}
    tokenizer = loaded[SHIPPED].tokenizer
    for name, other in loaded.items():
        if is_switch(name):
            raise ValueError(f"{name} is an ablation that needs no model")
        if other.tokenizer.to_str() != tokenizer.to_str():
            raise ValueError(f"the ablation {name} has another tokenizer than the model")
    run = {
        "kind": task.kind,
        "models": {name: other.digest for name, other in loaded.items()},
        "haystack": "ours" if task.file is None else hashlib.sha256(task.file.read_bytes()).hexdigest(),
        "length": length,
        "fresh_family": fresh_family.digest(),
    }
    file = task.folder / _RUN
    if file.exists():
        if json.loads(file.read_text()) != run:
            raise ValueError(f"{task.folder} holds a run of other models, lengths, haystacks or facts")
        return run
    made = haystacks(task.kind, tokenizer, length, task.file)
    save_file(
        {name: torch.tensor(tokens, dtype=torch.int32) for name, tokens in made.items()}, task.folder / _HAYSTACKS
    )
    file.write_text(json.dumps(run))
    return run


def haystack(folder: Path, name: str) -> Tensor:
    """Return one of a run's haystacks, [n]."""
    return load_file(folder / _HAYSTACKS)[name]


class Passed(NamedTuple):
    """What a pass came to."""

    rows: list[NeedleRow]
    device: str
    """What computed it."""
    seconds: float


def run(task: Task, passes: Sequence[Pass], *, threads: int) -> dict[Pass, Passed]:
    """Return what each pass came to; those that the folder has are not computed again.

    Args:
        task: prepared.
        passes: to compute.
        threads: cores; each has a process of its own, and 1 is this one.
    """
    file = task.folder / _PASSES
    done = _read(file)
    left = [each for each in passes if each not in done]
    name = torch.cuda.get_device_name() if task.device == "cuda" else task.device
    with file.open("a") as kept:
        for _, (each, rows, seconds) in zip(told(left, "needles"), _computed(task, left, threads), strict=True):
            done[each] = Passed(rows, name, seconds)
            line = {
                "pass": asdict(each),
                "rows": [row._asdict() for row in rows],
                "seconds": seconds,
                "device": name,
            }
            kept.write(f"{json.dumps(line)}\n")
            kept.flush()
    return {each: done[each] for each in passes}


def _read(file: Path) -> dict[Pass, Passed]:
    if not file.exists():
        return {}
    # A line that a kill broke off is computed again.
    whole = [line for line in file.read_text().splitlines(keepends=True) if line.endswith("\n")]
    file.write_text("".join(whole))
    return {
        Pass(**line["pass"] | {"lengths": tuple(line["pass"]["lengths"])}): Passed(
            [NeedleRow(**row) for row in line["rows"]], line["device"], line["seconds"]
        )
        for line in map(json.loads, whole)
    }


Done = tuple[Pass, list[NeedleRow], float]


def _computed(task: Task, passes: Sequence[Pass], threads: int) -> Iterator[Done]:
    if threads == 1:
        yield from (_one(task, each) for each in passes)
        return
    # Processes: they share no lock, and an interrupt ends them all.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(threads, context, _begin)
    try:
        for future in as_completed([pool.submit(_one, task, each) for each in passes]):
            yield future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _begin() -> None:
    """Begin a process of the pool: it ends with the one that made it, however that ends."""
    torch.set_num_threads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    if (parent := multiprocessing.parent_process()) is not None:
        parent.join()
        os._exit(1)


def _one(task: Task, each: Pass) -> Done:
    start = time.monotonic()
    model, tokenizer = _model(task.models.get(each.model, task.models[SHIPPED]), each.model, task.folder)
    test = NeedleTest(
        lengths=each.lengths,
        streams=each.streams,
        needles=each.needles,
        condition=each.condition,
        # The same facts and places under every condition and for every model.
        seed=zlib.crc32(f"{each.family}/{each.hay}/{each.needles}/{each.seed}".encode()),
    )
    model = model.to(task.device)
    rows = needle_test(model, facts(task.kind, each.family, tokenizer), _hay(task.folder, each.hay), test)
    return each, list(rows), time.monotonic() - start


@functools.lru_cache(maxsize=1)
def _model(path: Path, name: str, folder: Path) -> tuple[TitansMac, Tokenizer]:
    loaded = checkpoint.load(path)
    model = switched(loaded.model, name, _hay(folder, "held out")) if is_switch(name) else loaded.model
    return model, loaded.tokenizer


_hay = functools.lru_cache(maxsize=1)(haystack)
