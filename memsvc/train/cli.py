"""`memsvc-train`: trains a model that ships, from nothing but this repository and Python."""

import json
import platform
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

import torch
import typer

from memsvc.backbone.titans_mac import checkpoint
from memsvc.backbone.titans_mac.config import ContextMemoryConfig, MacConfig
from memsvc.train import metrics
from memsvc.train.dna import Dna
from memsvc.train.gate import tighten
from memsvc.train.prose import Prose
from memsvc.train.source import Source
from memsvc.train.stages import STAGES
from memsvc.train.trainer import METRICS, Trainer

MODEL = "model.safetensors"
SHAPE = MacConfig(vocabulary=1, layers=4, memory_layer=2, memory=ContextMemoryConfig(hidden=2048, momentum=False))
"""Of the shipped models, but for the vocabulary. Two blocks come before the memory: one finds what a sentence is about,
the next what a number in it is. Without momentum: with it, a step goes on into what comes next, which is another's."""
SOURCES: Mapping[str, Callable[[], Source]] = MappingProxyType(
    {"text": partial(Prose, "text"), "dialogue": partial(Prose, "dialogue"), "dna": Dna}
)


def train(
    kind: Annotated[str, typer.Argument(help=f"What to train on: {', '.join(SOURCES)}.")],
    out: Annotated[Path, typer.Argument(help="Folder; a training that is there is gone on with.")],
    *,
    seed: Annotated[int, typer.Option(help="Of all that is drawn.")] = 0,
    threads: Annotated[int, typer.Option(min=1, help="Of the processor.")] = 2,
    device: Annotated[str, typer.Option(help="cpu, or cuda; a GPU is used where there is one.")] = "",
    scale: Annotated[float, typer.Option(min=0.0, help="So many times the steps of each stage.")] = 1.0,
    every: Annotated[int, typer.Option(min=1, help="Steps between checkpoints.")] = 50,
    hidden: Annotated[int, typer.Option(min=32, help="Width of the memory.")] = SHAPE.memory.hidden,
    momentum: Annotated[
        bool, typer.Option(help="Let the memory's steps carry on; the shipped models' do not.")
    ] = False,
) -> None:
    """Train a model; write its file, its figures as lines of JSON, and its curves."""
    if kind not in SOURCES:
        raise typer.BadParameter(f"must be one of {', '.join(SOURCES)}", param_hint="KIND")
    torch.set_num_threads(threads)
    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    source = SOURCES[kind]()
    memory = replace(SHAPE.memory, hidden=hidden, momentum=momentum)
    config = replace(SHAPE, vocabulary=source.tokenizer.get_vocab_size(), memory=memory)
    stages = [stage.scaled(scale) for stage in STAGES[kind]]
    try:
        trainer = Trainer(source, config, stages, seed=seed, folder=out, device=place)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="OUT") from error
    steps = sum(stage.steps for stage in stages)
    for row in trainer.run(every=every):
        figures = " ".join(f"{name} {row[name]:.4g}" for name in row if name not in {"stage", "step", "total"})
        typer.echo(f"step {row['total'] + 1} of {steps}: {figures}")
    model, raised = trainer.model, 0.0
    if model.memory is not None:
        raised = tighten(model, model.memory, source, stages[min(1, len(stages) - 1)], seed=seed)
    card = {
        **{"gate_raised": raised, "kind": kind, "plan": trainer.plan, "threads": threads},
        **{"torch": torch.__version__, "python": platform.python_version(), "device": _name(place)},
    }
    checkpoint.save(out / MODEL, model, source.tokenizer, card)
    metrics.plot(metrics.read(out / METRICS), out / "curves.svg")
    typer.echo(json.dumps({"model": str(out / MODEL), "sha256": checkpoint.load(out / MODEL).digest}))


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def main() -> None:
    """Run the command line."""
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(train)
    app()


if __name__ == "__main__":
    main()
