"""A model's card: `python -m memsvc_bench.needle_card MODEL.safetensors RESULT.json > MODEL.md`."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from memsvc.backbone.titans_mac import checkpoint
from memsvc.backbone.titans_mac.checkpoint import Loaded
from memsvc.train.stages import FURTHER, STAGES, Stage
from memsvc_bench.markdown import show, table

_DATA = {
    "text": "Made-up facts in Python's manual, its docstrings and some of its source. An eighth of the documents is "
    "held out, and a fifth of the names.",
    "dialogue": "Made-up facts in Python's manual and docstrings, as turns of speakers. An eighth of the documents is "
    "held out, and a fifth of the names.",
    "dna": "Made-up facts (a fixed motif, a key, a spacer, a payload) in made-up genomes, Markov chains of order 4. "
    "A fifth of the keys is held out.",
}


def card(name: str, loaded: Loaded, result: Mapping[str, Any]) -> str:
    """Return a model's card as Markdown.

    Args:
        name: of its file.
        loaded: the model.
        result: of `memsvc bench needle` on it, as `Result.to_json` gives it.

    Raises:
        ValueError: the result is another model's.
    """
    figures, told = result["figures"], loaded.card
    if figures.get("model_sha256") != loaded.digest:
        raise ValueError(f"the result is not one of {name}")
    parts = [
        f"# {name}",
        "A small Titans-MAC language model (arXiv:2501.00663), trained in this repository. It is evidence for the "
        "architecture and a test bed: it finds what it was told long ago, through a window of "
        f"{loaded.model.config.window} tokens. It is no chat model, and knows nothing of the world.",
        table(["", "value"], [[what, value] for what, value in _facts(loaded, figures)]),
        f"**Data.** {_DATA[told['kind']]} None of it is downloaded.",
        f"**Training.** {' Then '.join(map(_training, _lineage(told)))}",
        _stages([stage for each in _lineage(told) for stage in each["plan"]["stages"]]),
        *_ridge(told.get("ridge", {})),
        f"**Figures**, of `{result['command']}`. A fact is found if each token of its value is the likeliest after "
        "the ones before; the bounds are those of 95 % (Wilson), over answers.",
        _rows(figures, "length"),
        _rows(figures, "facts"),
        table(
            ["check", "value", "target", "holds"],
            [[c["name"], show(c["value"]), c["target"], "yes" if c["ok"] else "**no**"] for c in result["checks"]],
        ),
    ]
    return "\n\n".join(parts) + "\n"


def main(arguments: Sequence[str]) -> None:
    """Print the card of a model and a result.

    Raises:
        SystemExit: it is not called so, or the result is another model's.
    """
    if len(arguments) != 2:
        raise SystemExit("usage: python -m memsvc_bench.needle_card MODEL.safetensors RESULT.json")
    model, result = map(Path, arguments)
    try:
        sys.stdout.write(card(model.name, checkpoint.load(model), json.loads(result.read_text())))
    except ValueError as error:
        raise SystemExit(str(error)) from error


def _facts(loaded: Loaded, figures: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    config = loaded.model.config
    yield "SHA-256", loaded.digest
    yield "parameters", show(figures["parameters"])
    yield "tokens", show(config.vocabulary)
    yield "blocks, width", f"{config.layers}, {config.width}"
    yield (
        "memory: depth, key, hidden, value",
        ", ".join(str(getattr(config.memory, name)) for name in ("depth", "key", "hidden", "value")),
    )


def _lineage(told: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return what the file says of its training, and before it what those say that it went on from."""
    start = told["plan"].get("start")
    return [*(_lineage(start["card"]) if start else ()), told]


def _training(told: Mapping[str, Any]) -> str:
    plan = told["plan"]
    steps = sum(stage["steps"] for stage in plan["stages"])
    from_what = " what its Python shipped" if "python" not in told else f" what Python {told['python']} ships"
    device = told.get("device", "cpu")
    return (
        f"`memsvc-train {told['kind']} DIR{_options(told)} --seed {plan['seed']} --threads {told['threads']}`, "
        f"{steps:,} steps, computed on {device} with torch {told['torch']}, from{from_what}.{_other_plan(told)}"
    )


def _options(told: Mapping[str, Any]) -> str:
    """Return the options of the command that say what the shape is, and what it was made of."""
    plan = told["plan"]
    config, memory = plan["config"], plan["config"]["memory"]
    sure = memory.get("sure")
    how = f" --readout {memory['readout']} --sure {'none' if sure is None else show(sure)}"
    if "start" in plan:
        # The rest of the shape is that model's.
        none = "" if plan["stages"] else " --stages 0"
        others = "".join(f" --average {other['sha256'][:12]}.safetensors" for other in told.get("average", ()))
        return f" --on {plan['start']['sha256'][:12]}.safetensors{none}{others}{how}"
    shape = f" --hidden {memory['hidden']} --depth {memory['depth']} --chunk {config['chunk']}"
    return f"{shape}{how}{' --momentum' if memory['momentum'] else ''}"


def _other_plan(told: Mapping[str, Any]) -> str:
    """Say so, where the command has other stages today than it had then."""
    plan = told["plan"]
    stages = tuple(Stage(**stage | {"needles": tuple(stage["needles"])}) for stage in plan["stages"])
    if stages in {(), (FURTHER if "start" in plan else STAGES)[told["kind"]]}:
        return ""
    return " The stages below were the plan then; the command has others today."


def _ridge(right: Mapping[str, float]) -> Iterator[str]:
    """Yield how λ was set, where it was."""
    if not right:
        return
    yield "**λ** of the memory was set by what share of the answers' tokens was right, at so much of the λ learnt:"
    yield table(["of the λ learnt", "right"], [[share, show(value)] for share, value in right.items()])


def _stages(stages: Sequence[Mapping[str, Any]]) -> str:
    columns = list(stages[0])
    return table(["stage", *columns], [[str(i + 1), *(show(s[c]) for c in columns)] for i, s in enumerate(stages)])


def _rows(figures: Mapping[str, Any], having: str) -> str:
    """Return the table of those rows that have a column."""
    rows = {name: row for name, row in figures.items() if isinstance(row, Mapping) and having in row}
    columns = ["n", "exact", "at_least", "at_most", "gate_share"]
    lines = [[name, *(show(row[column]) for column in columns)] for name, row in rows.items()]
    return table(["", *(column.replace("_", " ") for column in columns)], lines)


if __name__ == "__main__":
    main(sys.argv[1:])
