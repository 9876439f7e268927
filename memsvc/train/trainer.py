"""A training: stage by stage, resumable to the bit, from seeds alone."""

import json
import math
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from memsvc.backbone.titans_mac.checkpoint import Loaded
from memsvc.backbone.titans_mac.config import MacConfig
from memsvc.backbone.titans_mac.model import TitansMac
from memsvc.train import checkpoint
from memsvc.train.checkpoint import Progress
from memsvc.train.families import FamilyName
from memsvc.train.metrics import Metrics
from memsvc.train.objective import objective
from memsvc.train.samples import Batch, batch
from memsvc.train.source import Source
from memsvc.train.stages import Stage

CHECKPOINT, METRICS = "checkpoint.safetensors", "metrics.jsonl"
EXAMINED: Mapping[str, Any] = MappingProxyType({"rows": 8, "length": 1024, "needles": (8,)})
"""What a training is examined by, beside a stage's own: sequences, their tokens and facts."""
_WARM_UP = 50
"""Steps until the learning rate is whole."""
_BETAS, _DECAY, _CLIP = (0.9, 0.98), 0.01, 1.0


class Trainer:
    """One training in one folder.

    Args:
        source: what it is trained on.
        config: of the model.
        stages: one after the other.
        seed: of the initial weights and of all that is drawn.
        folder: for the checkpoint and the figures; what is there is gone on with.
        device: to compute on.
        start: a trained model, whose weights are gone on from; of its shape `config` may leave parts out.

    Raises:
        ValueError: the folder holds a training that was asked for otherwise.
    """

    def __init__(
        self,
        source: Source,
        config: MacConfig,
        stages: Sequence[Stage],
        *,
        seed: int,
        folder: Path,
        device: torch.device,
        start: Loaded | None = None,
    ) -> None:
        self.source, self.stages, self.seed, self.folder, self.device = source, tuple(stages), seed, folder, device
        plan = {"seed": seed, "config": config.to_json(), "stages": list(map(asdict, stages)), "source": source.name}
        if start is not None:
            plan["start"] = {"sha256": start.digest, "card": dict(start.card)}
        self.plan: Mapping[str, Any] = json.loads(json.dumps(plan))
        self.progress = Progress(0, 0)
        torch.manual_seed(seed)
        self.model = TitansMac(config)
        if start is not None:
            trained = start.model.state_dict()
            self.model.load_state_dict({name: trained[name] for name in self.model.state_dict()})
        self.model = self.model.to(device)
        self._optimizer = self._fresh_optimizer()
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / CHECKPOINT).exists():
            self._resume(checkpoint.load(folder / CHECKPOINT))
        self._metrics = Metrics(folder / METRICS, self.progress)

    @property
    def done(self) -> bool:
        """Whether all stages are through."""
        return self.progress.stage == len(self.stages)

    @property
    def total(self) -> int:
        """Steps done, of all stages."""
        return sum(stage.steps for stage in self.stages[: self.progress.stage]) + self.progress.step

    def run(self, *, every: int) -> Iterator[dict[str, Any]]:
        """Train to the end; yield the figures every so many steps, when a checkpoint has been written."""
        started, first = time.monotonic(), self.total
        while not self.done:
            stage = self.stages[self.progress.stage]
            row = self._step(stage)
            if (self.progress.step + 1) % every == 0 or self.progress.step + 1 == stage.steps:
                row |= self.examine() | {"step_s": (time.monotonic() - started) / (self.total + 1 - first)}
                self._metrics.add(row)
                self._advance(stage)
                self.save()
                yield row
            else:
                self._advance(stage)

    def save(self) -> None:
        """Write the checkpoint."""
        checkpoint.save(self.folder / CHECKPOINT, self.model, self._optimizer, self.progress, self.plan)

    @torch.no_grad()
    def examine(self) -> dict[str, float]:
        """Return how well new keys, and needles unlike training's, are found, at the end of a sequence."""
        stage = replace(self.stages[min(self.progress.stage, len(self.stages) - 1)], **EXAMINED)
        figures = {}
        families: tuple[tuple[str, FamilyName], ...] = (("digits_new", "similar"), ("digits_disjoint", "disjoint"))
        for name, family in families:
            rng = random.Random(f"{self.seed}/{family}")  # noqa: S311  # a seed, no secret
            result = objective(self.model, self._batch(stage, rng, family), penalty=0.0)
            figures[name] = float(result.digits)
        return figures

    def _step(self, stage: Stage) -> dict[str, Any]:
        index, step = self.progress
        rng = random.Random(f"{self.seed}/{index}/{step}")  # noqa: S311  # a seed, no secret
        if self.model.memory is not None:
            self.model.memory.hard = stage.hard
        rate = stage.rate * min(1.0, (step + 1) / _WARM_UP) * (0.525 + 0.475 * math.cos(math.pi * step / stage.steps))
        for group in self._optimizer.param_groups:
            group["lr"] = rate * group["share"]
        penalty = stage.penalty * min(1.0, (step + 1) / max(stage.ramp, 1))
        result = objective(self.model, self._batch(stage, rng, "training"), penalty=penalty)
        if not bool(result.loss.isfinite()):
            raise FloatingPointError(f"the loss of stage {index}, step {step} is not finite")
        self._optimizer.zero_grad()
        result.loss.backward()  # type: ignore[no-untyped-call]  # torch has no types for it
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), _CLIP)
        self._optimizer.step()
        figures = {
            "loss": result.loss,
            "digits": result.digits,
            "ordinary": result.ordinary,
            "stated": result.stated,
            "gradient": norm,
        }
        numbers = {name: float(value.detach()) for name, value in figures.items()}
        return {"stage": index, "step": step, "total": self.total, "rate": rate} | numbers

    def _batch(self, stage: Stage, rng: random.Random, family: FamilyName) -> Batch:
        return batch(self.source, stage, rng, chunk=self.model.config.chunk, family=family).to(self.device)

    def _advance(self, stage: Stage) -> None:
        self.progress = Progress(self.progress.stage, self.progress.step + 1)
        if self.progress.step == stage.steps:
            self.progress = Progress(self.progress.stage + 1, 0)
            self._optimizer = self._fresh_optimizer()

    def _fresh_optimizer(self) -> torch.optim.AdamW:
        # The memory's layers between its first and last come one after the other, and what they add multiplies: at the
        # whole rate, eight layers came to answer to every key alike within a few hundred steps.
        memory = self.model.memory
        inner = [] if memory is None else list(memory.initial)[1:]
        others = [weight for weight in self.model.parameters() if all(weight is not each for each in inner)]
        groups = [{"params": others, "share": 1.0}]
        if inner:
            groups.append({"params": inner, "share": 1 / len(inner)})
        return torch.optim.AdamW(groups, betas=_BETAS, weight_decay=_DECAY)

    def _resume(self, kept: checkpoint.Kept) -> None:
        if kept.plan != self.plan:
            raise ValueError(f"{self.folder} holds a training with another seed, model or schedule")
        self.model.load_state_dict(kept.model)
        state = self._optimizer.state_dict()
        self._optimizer.load_state_dict(state | {"state": kept.optimizer})
        self.progress = kept.progress
