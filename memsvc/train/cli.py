"""`memsvc-train`: trains a model that ships, from nothing but this repository and Python."""

import json
import math
import platform
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

import torch
import typer
from tokenizers import Tokenizer

from memsvc.backbone.titans_mac import checkpoint
from memsvc.backbone.titans_mac.checkpoint import Loaded
from memsvc.backbone.titans_mac.config import MAX_DEPTH, MIN_DEPTH, READOUTS, ContextMemoryConfig, MacConfig, Readout
from memsvc.backbone.titans_mac.model import TitansMac
from memsvc.errors import MemsvcError
from memsvc.train import metrics
from memsvc.train.average import average, check
from memsvc.train.dna import Dna
from memsvc.train.gate import tighten
from memsvc.train.prose import Prose
from memsvc.train.ridge import settle
from memsvc.train.source import Source
from memsvc.train.stages import FURTHER, STAGES
from memsvc.train.trainer import EXAMINED, METRICS, Trainer

MODEL = "model.safetensors"
SHAPE = MacConfig(
    vocabulary=1,
    layers=4,
    memory_layer=2,
    memory=ContextMemoryConfig(hidden=2048, momentum=False, sure=4.0, readout="residual"),
)
"""Of the shipped models, but for the vocabulary. Two blocks come before the memory: one finds what a sentence is about,
the next what a number in it is. Without momentum: with it, a step goes on into what comes next, which is another's. The
readout goes into the residual stream alone: as keys and values it was worth nothing beside that, and nothing alone.
What training learns to write has a logit of 7 to 9 mostly, what is let in of ordinary text by mistake one of 0 to 4."""
SOURCES: Mapping[str, Callable[[Tokenizer | None], Source]] = MappingProxyType(
    {"text": partial(Prose, "text"), "dialogue": partial(Prose, "dialogue"), "dna": lambda _: Dna()}
)
"""By kind; English takes the tokenizer of a model that is gone on from, and makes one without."""
_CHUNKS = 4
"""Of a sequence at least: a fact, the two that its question comes later by, and the question."""
ENGLISH = frozenset({"text", "dialogue"})
"""Kinds whose models may be gone on from to each other."""


def train(
    kind: Annotated[str, typer.Argument(help=f"What to train on: {', '.join(SOURCES)}.")],
    out: Annotated[Path, typer.Argument(help="Folder; a training that is there is gone on with.")],
    *,
    seed: Annotated[int, typer.Option(help="Of all that is drawn.")] = 0,
    threads: Annotated[int, typer.Option(min=1, help="Of the processor.")] = 2,
    device: Annotated[str, typer.Option(help="cpu, or cuda; a GPU is used where there is one.")] = "",
    scale: Annotated[float, typer.Option(min=0.0, help="So many times the steps of each stage.")] = 1.0,
    most: Annotated[
        int | None,
        typer.Option("--stages", min=0, help="Only so many of the stages, the first; with --on, 0 sets gate and λ."),
    ] = None,
    every: Annotated[int, typer.Option(min=1, help="Steps between checkpoints.")] = 50,
    hidden: Annotated[int, typer.Option(min=32, help="Width of the memory.")] = SHAPE.memory.hidden,
    depth: Annotated[int, typer.Option(min=MIN_DEPTH, max=MAX_DEPTH, help="Layers of the memory.")] = MIN_DEPTH,
    readout: Annotated[
        str, typer.Option(help=f"Where the readout goes: {', '.join(READOUTS)}. Without it the usual one, or --on's.")
    ] = "",
    sure: Annotated[
        str,
        typer.Option(
            help="The gate's logit at which a token counts half, or none: all count alike. Without it the usual one, "
            "or --on's."
        ),
    ] = "",
    chunk: Annotated[int, typer.Option(min=8, help="Tokens of a chunk; half of the window.")] = SHAPE.chunk,
    momentum: Annotated[
        bool, typer.Option(help="Let the memory's steps carry on; the shipped models' do not.")
    ] = False,
    on: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="A trained model to go on from; its shape is kept, but for readout and sure.",
        ),
    ] = None,
    averaged: Annotated[
        list[Path] | None,
        typer.Option(
            "--average",
            exists=True,
            dir_okay=False,
            help="A model to average with in the end, of --on's family; given twice, it counts twice.",
        ),
    ] = None,
) -> None:
    """Train a model; write its file, its figures as lines of JSON, and its curves."""
    if kind not in SOURCES:
        raise typer.BadParameter(f"must be one of {', '.join(SOURCES)}", param_hint="KIND")
    if not math.isfinite(scale):
        raise typer.BadParameter("must be a number", param_hint="--scale")
    torch.set_num_threads(threads)
    place = _place(device)
    start = None if on is None else _load(on, "--on")
    others = [_load(path, "--average") for path in averaged or ()]
    source = SOURCES[kind](start.tokenizer if start else None)
    if start is None:
        with _named("--hidden"):
            memory = replace(SHAPE.memory, hidden=hidden, depth=depth, momentum=momentum)
        config = replace(SHAPE, vocabulary=source.tokenizer.get_vocab_size(), chunk=chunk, memory=memory)
    else:
        _check(start, kind, source)
        config = start.model.config
    if readout:
        config = replace(config, memory=replace(config.memory, readout=_readout(readout)))
    if sure:
        config = replace(config, memory=replace(config.memory, sure=_sure(sure)))
    _check_others(start, others, config)
    whole = STAGES[kind]
    stages = [stage.scaled(scale) for stage in (FURTHER[kind] if start else whole)[:most]]
    _check_chunk(config.chunk, {EXAMINED["length"], *(stage.length for stage in (*stages, *whole))})
    try:
        trainer = Trainer(source, config, stages, seed=seed, folder=out, device=place, start=start)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="OUT") from error
    steps = sum(stage.steps for stage in stages)
    for row in trainer.run(every=every):
        figures = " ".join(f"{name} {row[name]:.4g}" for name in row if name not in {"stage", "step", "total"})
        typer.echo(f"step {row['total'] + 1} of {steps}: {figures}")
    model, raised, right = trainer.model, 0.0, dict[float, float]()
    average(model, [other.model for other in others])
    if model.memory is not None:
        raised = tighten(model, model.memory, source, whole[min(1, len(whole) - 1)], seed=seed)
        if model.memory.config.second_order:
            right = settle(model, model.memory, source, whole[-1], seed=seed)
    card = {
        **{"gate_raised": raised, "ridge": right, "kind": kind, "plan": trainer.plan, "threads": threads},
        "average": [{"sha256": other.digest, "card": dict(other.card)} for other in others],
        **{"torch": torch.__version__, "python": platform.python_version(), "device": _name(place)},
    }
    checkpoint.save(out / MODEL, model, source.tokenizer, card)
    if rows := metrics.read(out / METRICS):
        metrics.plot(rows, out / "curves.svg")
    typer.echo(json.dumps({"model": str(out / MODEL), "sha256": checkpoint.load(out / MODEL).digest}))


def _place(device: str) -> torch.device:
    gpu = torch.cuda.is_available()
    try:
        place = torch.device(device or ("cuda" if gpu else "cpu"))
    except RuntimeError:
        place = None
    if place is None or place.type not in {"cpu", "cuda"} or (place.type == "cuda" and not gpu):
        raise typer.BadParameter("must be cpu, or cuda where there is a GPU", param_hint="--device")
    return place


@contextmanager
def _named(option: str) -> Iterator[None]:
    try:
        yield
    except MemsvcError as error:
        raise typer.BadParameter(str(error), param_hint=option) from error


def _load(path: Path, option: str) -> Loaded:
    with _named(option):
        return checkpoint.load(path)


def _check_chunk(chunk: int, lengths: Collection[int]) -> None:
    if any(length % chunk or length < _CHUNKS * chunk for length in lengths):
        wanted = ", ".join(map(str, sorted(lengths)))
        raise typer.BadParameter(f"must divide, {_CHUNKS} times or more, each of {wanted}", param_hint="--chunk")


def _readout(name: str) -> Readout:
    for each in READOUTS:
        if each == name:
            return each
    raise typer.BadParameter(f"must be one of {', '.join(READOUTS)}", param_hint="--readout")


def _sure(text: str) -> float | None:
    if text == "none":
        return None
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise typer.BadParameter("must be a number, or none", param_hint="--sure")
    return number


def _check(start: Loaded, kind: str, source: Source) -> None:
    before = start.card.get("kind")
    if (before != kind and not {before, kind} <= ENGLISH) or start.tokenizer.to_str() != source.tokenizer.to_str():
        raise typer.BadParameter(f"the model was not trained on {kind}", param_hint="--on")


def _check_others(start: Loaded | None, others: Sequence[Loaded], config: MacConfig) -> None:
    if any(start is None or other.tokenizer.to_str() != start.tokenizer.to_str() for other in others):
        raise typer.BadParameter("takes models with the tokenizer of --on's", param_hint="--average")
    with torch.device("meta"):
        model = TitansMac(config)
    try:
        check(model, [other.model for other in others])
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--average") from error


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def main() -> None:
    """Run the command line."""
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(train)
    app()


if __name__ == "__main__":
    main()
