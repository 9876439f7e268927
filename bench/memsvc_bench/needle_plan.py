"""What the needle benchmark asks: passes over haystacks, each of some streams with facts at their head."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from memsvc.backbone.titans_mac.config import MacConfig
from memsvc.train.needle import CONDITIONS, Condition
from memsvc_bench.haystack import Kind
from memsvc_bench.needle_facts import S_NIAH
from memsvc_bench.needle_switches import FAR, switches

Table = Literal["curve", "capacity", "s-niah", "plain", "ablation"]
SHIPPED = "shipped"
"""The name of the model that is measured, beside those of ablations."""
NEEDLES = 8
ROOM = 120
"""Tokens that a fact and what is around it take at most, on average."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """One batch of streams."""

    table: Table
    model: str = SHIPPED
    family: str = "similar"
    condition: Condition = "memory"
    hay: str = "unseen"
    needles: int = NEEDLES
    lengths: tuple[int, ...]
    streams: int
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How much is asked."""

    lengths: tuple[int, ...] = (2_048, 8_192, 32_768, 131_072, 524_288, 2_097_152)
    similar: int = 25
    """Streams of the curve with training's forms."""
    fresh: int = 25
    """Streams of the curve with forms that no training had."""
    controls: int = 25
    """Streams of each condition but memory, up to `short`."""
    strangers: int = 5
    """Streams that are asked what another was told after the last length, too."""
    short: int = 32_768
    repeated: int = 8
    """Streams in a haystack that repeats."""
    hard: int = 131_072
    """Length up to which distractors are tried; what repeats is tried up to four times that."""
    capacity: Mapping[int, tuple[int, int]] = field(
        default_factory=lambda: {
            **{1: (96, 0), 16: (12, 2), 32: (8, 2), 64: (4, 2), 100: (4, 2)},
            **{256: (2, 2), 512: (2, 2)},
        }
    )
    """Streams at the first length that has room, and how many of them go on to the last, by the facts of each."""
    many: int = 100
    """Facts of a stream, one of those numbers, most of which are to be found."""
    niah: tuple[int, int] = (64, 8)
    """Streams up to the paper's lengths, and to `hard`."""
    niah_lengths: tuple[int, ...] = (2_048, 4_096, 8_192, 16_384)
    ablations: int = 12
    far: tuple[int, int] = (524_288, 2)
    """A length to which some ablations go, and their streams."""
    tenants: int = 25
    """Of a server that are told facts and asked for them, at the last length up to `short`: two at least, or none."""
    rows: int = 5
    """The most streams of a pass; more are slower, as they do not fit the processor's caches."""
    beyond: int = 8
    """Streams that go on past the last length, where that is asked for; half as many of the fresh family."""
    histories: tuple[int, ...] = (2_048, 32_768, 524_288, 2_097_152)
    """After which the first token is timed."""
    rounds: int = 20
    """Of each timing."""
    timed: int = 256
    """Chunks of ordinary text in one timed call: one token in ten thousand writes, so that few show no cost of it."""
    shaped: int = 64
    """The same for memories of other depths and chunks: deep ones take a hundred times as long."""


FULL = Scale()


def passes(kind: Kind, scale: Scale, config: MacConfig, models: Sequence[str], beyond: int = 0) -> list[Pass]:
    """Return all passes, the longest first.

    Args:
        kind: of the model; S-NIAH and plain facts are English.
        scale: how much.
        config: of the model.
        models: names of other models, trained as ablations.
        beyond: a length past the last; 0 for none.
    """
    found = [*_curves(scale, beyond), *_capacity(scale), *_ablations(scale, switches(config), models)]
    if kind == "text":
        found += _niah(scale)
    if kind != "dna":
        found += _plain(scale)
    parts = (part for each in found for part in _parts(each, scale.rows))
    return sorted(parts, key=lambda each: -each.streams * each.lengths[-1])


def _parts(each: Pass, rows: int) -> Iterator[Pass]:
    """Yield it in passes of so many streams at most, but two at least where there are two: of another tenant."""
    count = -(-each.streams // max(rows, 2))
    for i in range(count):
        yield replace(each, streams=(each.streams + i) // count, seed=each.seed + i)


def _curves(scale: Scale, beyond: int) -> Iterator[Pass]:
    short = tuple(length for length in scale.lengths if length <= scale.short)
    hard = tuple(length for length in scale.lengths if length <= scale.hard)
    longer = tuple(length for length in scale.lengths if length <= 4 * scale.hard)
    for family, streams, far in (
        ("similar", scale.similar, scale.beyond),
        ("fresh", scale.fresh, scale.beyond // 2),
    ):
        yield Pass(table="curve", family=family, lengths=scale.lengths, streams=streams, seed=0)
        if beyond:
            yield Pass(table="curve", family=family, lengths=(beyond,), streams=far, seed=100)
        for condition in CONDITIONS[1:]:
            yield Pass(table="curve", family=family, condition=condition, lengths=short, streams=scale.controls, seed=0)
    last = scale.lengths[-1:]
    yield Pass(table="curve", condition="other tenant", lengths=last, streams=scale.strangers, seed=100)
    yield Pass(table="curve", hay="held out", lengths=longer, streams=scale.repeated, seed=0)
    yield Pass(table="curve", hay="distractors", lengths=hard, streams=scale.controls, seed=0)


def _capacity(scale: Scale) -> Iterator[Pass]:
    for needles, (streams, long) in scale.capacity.items():
        near = _near(scale, needles)
        lengths = (near, scale.lengths[-1])
        yield Pass(table="capacity", needles=needles, lengths=lengths, streams=long, seed=0)
        yield Pass(table="capacity", needles=needles, lengths=(near,), streams=streams - long, seed=100)


def _niah(scale: Scale) -> Iterator[Pass]:
    paper, hard = scale.niah
    for family, hay in S_NIAH.items():
        for lengths, streams, seed in ((scale.niah_lengths, paper, 0), ((scale.hard,), hard, 100)):
            yield Pass(table="s-niah", family=family, hay=hay, needles=1, lengths=lengths, streams=streams, seed=seed)


def _plain(scale: Scale) -> Iterator[Pass]:
    short = tuple(length for length in scale.lengths if length <= scale.short)
    conditions: tuple[Condition, ...] = ("memory", "memory off")
    for condition in conditions:
        yield Pass(table="plain", family="plain", condition=condition, lengths=short, streams=scale.controls, seed=0)
    yield Pass(table="plain", family="fresh, new lengths", lengths=short, streams=scale.controls, seed=0)


def _ablations(scale: Scale, switched: Sequence[str], models: Sequence[str]) -> Iterator[Pass]:
    short = tuple(length for length in scale.lengths if length <= scale.short)
    for model in (SHIPPED, *switched, *models):
        yield Pass(table="ablation", model=model, lengths=short, streams=scale.ablations, seed=0)
    length, streams = scale.far
    for model in (SHIPPED, *(name for name in switched if name in FAR)):
        yield Pass(table="ablation", model=model, lengths=(length,), streams=streams, seed=100)
    for model in models:
        for needles, (streams, _) in scale.capacity.items():
            lengths = (_near(scale, needles),)
            yield Pass(table="capacity", model=model, needles=needles, lengths=lengths, streams=streams, seed=100)


def _near(scale: Scale, needles: int) -> int:
    """Return the first length, not under `short`, that has room for so many facts."""
    least = max(scale.short, ROOM * needles)
    return next((length for length in scale.lengths if length >= least), scale.lengths[-1])
