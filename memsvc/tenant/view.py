"""What one tenant's log folds to: index, gate, statistics, the waiting tail, and, unless a slot has them, the weights.

A record is folded in moves, so that an engine may do other work in between and group the steps of many tenants:

    of each record:            view.begin(record)             what it is about dies, for the entries to come
    for each entry, in order:  taken = view.take_up(...)      whether it repeats a text; then it needs no encoding
    for each other, in order:  chunks = view.feed(...)        its tokens join the tail; full chunks come out
    for each chunk, in order:  view.stepped(chunk, ...)       after the memory has taken the chunk
    at the record's end:       view.finish(record, ...)       its entries become visible, all at once

Records may be taken up (`begin`, `take_up`) before those ahead of them are finished, but for a change of settings
(`settles`): what follows it is taken up once it is finished.

Nothing here knows the time, other tenants, or how the stream was cut into requests.
"""

import hashlib
import struct
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, astuple, dataclass, field, fields, replace
from typing import Any

import msgpack
import numpy as np
from numpy.typing import NDArray

from memsvc import damage
from memsvc.errors import DataLossError, InvalidArgumentError
from memsvc.memory.config import MemoryConfig
from memsvc.memory.drift import DriftState, effective, restart
from memsvc.memory.drift import observe as watch_drift
from memsvc.memory.gate import GateState, observe
from memsvc.memory.presets import changed
from memsvc.recall.index import Index
from memsvc.recall.rows import NewEntry
from memsvc.store.types import Record, RecordKind, Snapshot
from memsvc.tenant.chunk import Chunk, Floats, Indexed, Replay, Stepped, Taken
from memsvc.tenant.context_stream import ContextStream
from memsvc.tenant.duplicates import LivingTexts, text_key
from memsvc.tenant.event import KEPT_EVENTS, Event
from memsvc.tenant.policies import Duplicates, Policies
from memsvc.tenant.record import Content, check_types, decode_configure, decode_create, decode_feedback, decode_numerics
from memsvc.tenant.stream import Stream
from memsvc.tenant.totals import RECENT_TOKENS, Totals
from memsvc.values import Values

FORMAT = 2
VIEW_BYTES = 20_000
"""What an empty view takes beside its arrays, about."""
MOST_OF_META = 1 << 15
"""Values in what a snapshot says beside the names of its parts: three times those of a full tail and all events."""


class View:
    """One tenant's view, folded up to and including `applied_seq`."""

    def __init__(self, width: int) -> None:
        self.config, self.policies = MemoryConfig(width=width), Policies()
        self.fingerprint = ""
        self.applied_seq = 0
        self.index = Index(width)
        self.gate = GateState()
        self.drift = DriftState()
        self.events: deque[Event] = deque(maxlen=KEPT_EVENTS)
        self.totals = Totals()
        self.weights: bytes | None = None
        """The packed weights that it was restored with, until whoever steps it takes charge of them."""
        self.context: ContextStream | None = None
        """Where its text streams to as well; None for tenants without a context memory."""
        self._stream = Stream(width)
        self._surprises: dict[int, tuple[float, int, int]] = {}
        self._living: LivingTexts | None = None
        """Of the entries taken up; None while duplicates are kept."""
        self._happened: list[tuple[str, dict[str, float]]] = []
        """Events of the record under way."""

    def settings(self, chunk: Chunk) -> MemoryConfig:
        """Return the memory's settings for a chunk that is stepped now."""
        config = effective(self.drift, self.config)
        return config if len(chunk.owners) else config.stepping(config.theta * config.replay_gain)

    @property
    def momentum_is_stale(self) -> bool:
        """Whether the momentum must be cleared before the next step: a restart began."""
        return self.drift.clear_due

    def momentum_cleared(self) -> None:
        """Take note that it is."""
        self.drift = replace(self.drift, clear_due=False)

    @property
    def tail(self) -> Floats:
        """The tokens that wait for their chunk to fill, [n < b, d]."""
        return self._stream.tail

    @property
    def tail_owners(self) -> NDArray[np.int64]:
        """The entry number of each token in the tail, [n]."""
        return self._stream.owners

    @property
    def nbytes(self) -> int:
        """What it takes of the memory, weights aside, about."""
        context = self.context.nbytes if self.context else 0
        return VIEW_BYTES + self.index.nbytes + self._stream.nbytes + context

    # --- fold -----------------------------------------------------------------------------------------------------

    @staticmethod
    def settles(record: Record) -> bool:
        """Whether what comes after a record is taken up only once it is finished."""
        return record.kind is RecordKind.CONFIGURE

    def begin(self, record: Record) -> None:
        """Take up a record; the first one has the settings.

        Raises:
            DataLossError: it cannot be read.
        """
        if record.kind is RecordKind.CREATE:
            created = decode_create(record.body, self.config.width)
            self.config, self.fingerprint, self.policies = created[:3]
            self.context = ContextStream(created.context_memory) if created.context_memory else None
            self._watch_texts()
        elif self._living is not None and record.kind is not RecordKind.FEEDBACK:
            self._living.remove(record.about)

    def take_up(self, number: int, content: Content) -> Taken:
        """Take up an entry of the record begun last."""
        key = text_key(content)
        return Taken(key, None if self._living is None else self._living.add(number, key))

    def _watch_texts(self) -> None:
        """Begin anew to look out for texts that are there already, or end it; nothing is taken up and not finished."""
        merges = self.policies.duplicates == Duplicates.MERGE
        self._living = LivingTexts(self.index.living_texts()) if merges else None

    def feed(
        self, number: int, states: Sequence[Floats], vectors: Floats, tokens: int, unknown: int
    ) -> list[Chunk | Replay]:
        """Stream one entry's token states, in pieces [n, d]; return the chunks that are full now, and replays.

        `vectors` [p, d] are its passages'; `tokens` and `unknown` count the text's tokens, and those that the encoder
        does not know.
        """
        self.totals.tokens += tokens
        self.totals.unknown += unknown
        return self._stream.feed(number, states, vectors, self.config)

    def draw(self, replay: Replay) -> Chunk:
        """Return a replay's chunk."""
        return self._stream.draw(replay, self.config, self.index.texts.vectors)

    def stepped(self, chunk: Chunk, result: Stepped) -> None:
        """Take into the statistics what the memory said of a chunk; chunks come back in the order they went out."""
        totals = self.totals
        if not result.finite:
            totals.skipped += 1
            self._happened.append(("quarantine", {"tokens": len(chunk.tokens), "skipped": totals.skipped}))
        if not len(chunk.owners):
            return
        totals.chunks += 1
        if not result.finite:
            return
        totals.bounded += result.bounded
        totals.clipped += result.clipped
        totals.projected += result.projected
        totals.stepped += len(chunk.owners)
        totals.wrote += int(result.wrote.sum())
        totals.surprise += float(result.surprise.sum())
        totals.window_surprise += float(result.surprise.sum())
        totals.window_tokens += len(chunk.owners)
        if totals.window_tokens >= RECENT_TOKENS:
            totals.recent = totals.window_surprise / totals.window_tokens
            totals.window_surprise, totals.window_tokens = 0.0, 0
        self.gate = observe(self.gate, self.config, result.surprise)
        self._watch(result.surprise)
        starts = np.flatnonzero(np.diff(chunk.owners, prepend=-1))
        sums = np.add.reduceat(result.surprise.astype(np.float64), starts)
        wrote = np.add.reduceat(result.wrote.astype(np.int64), starts)
        lengths = np.diff(starts, append=len(chunk.owners))
        for owner, total, n, w in zip(chunk.owners[starts], sums, lengths, wrote, strict=True):
            self._add_surprise(int(owner), float(total), int(n), int(w))

    def _watch(self, surprise: NDArray[np.floating[Any]]) -> None:
        self.drift, jump, ended = watch_drift(self.drift, self.config, surprise)
        if ended:
            self._happened.append(("restart_ended", {"surprise": self.totals.recent}))
        if jump is not None:
            self._happened.append(("drift", jump._asdict()))
            self._restarted()

    def _restarted(self) -> None:
        self.totals.restarts += 1
        self._happened.append(("restart", {"tokens": self.config.restart_tokens}))

    def _add_surprise(self, number: int, total: float, tokens: int, wrote: int) -> None:
        # An entry of the record under way is not in the index yet.
        before = self._surprises.get(number, (0.0, 0, 0))
        self._surprises[number] = (before[0] + total, before[1] + tokens, before[2] + wrote)

    def finish(self, record: Record, entries: Sequence[Indexed] = ()) -> None:
        """Make a record's entries visible and move on to its seq.

        Raises:
            DataLossError: the record does not follow the last one, or cannot be read.
        """
        if record.seq != self.applied_seq + 1:
            raise DataLossError(f"record {record.seq} does not follow record {self.applied_seq}")
        match record.kind:
            case RecordKind.NUMERICS:
                self.fingerprint, _ = decode_numerics(record.body)
            case RecordKind.CONFIGURE:
                self._configure(record)
            case RecordKind.RESTART:
                self.drift = restart(self.drift, self.config)
                self._restarted()
            case RecordKind.FEEDBACK:
                self.index.rate(record.about, 1 if decode_feedback(record.body) else -1)
            case RecordKind.WRITE | RecordKind.UPDATE | RecordKind.DELETE:
                self.index.hide(record.about, record.seq)
                self._index(record, entries)
            case RecordKind.EXPIRE | RecordKind.FORGET:
                kind = "expired" if record.kind is RecordKind.EXPIRE else "forgotten"
                if hidden := self.index.hide(record.about, record.seq):
                    self._happened.append((kind, {"entries": hidden}))
        for number, (total, tokens, wrote) in self._surprises.items():
            self.index.add_surprise(number, total, tokens, wrote)
        self._surprises.clear()
        if evicted := self.index.resample(self.policies.max_entries, record.seq):
            self._happened.append(("resampled", {"evicted": evicted, "entries": self.index.living}))
        self.events.extend(Event(seq=record.seq, kind=kind, figures=figures) for kind, figures in self._happened)
        self._happened.clear()
        self.applied_seq = record.seq

    def _configure(self, record: Record) -> None:
        changes, policies = decode_configure(record.body)
        # They were checked when they were appended, against settings that may have changed since.
        with suppress(InvalidArgumentError):
            self.config = changed(self.config, changes)
        before = self.policies
        self.policies = before.changed(policies)
        if self.policies.duplicates != before.duplicates:
            self._watch_texts()
        figures = {name: float(v) for name, v in {**changes, **policies}.items() if not isinstance(v, str)}
        self._happened.append(("configured", figures))
        if self.policies.max_entries > before.max_entries:
            back = self.index.take_back(self.policies.max_entries)
            if back:
                self._happened.append(("returned", {"entries": back}))

    def _index(self, record: Record, entries: Sequence[Indexed]) -> None:
        new = []
        for stored, entry in zip(record.entries, entries, strict=True):
            content = entry.content
            time_us = record.commit_us if content.time_us is None else content.time_us
            new.append(
                NewEntry(
                    number=entry.number,
                    seq=record.seq,
                    time_us=time_us,
                    session=content.session,
                    role=content.role,
                    text=content.text,
                    metadata_json=content.metadata_json,
                    vectors=entry.vectors,
                    spans=entry.spans,
                    tokens=entry.tokens,
                    content_hash=stored.payload.content_hash,
                    learn=content.learn,
                    text_key=entry.taken.text_key,
                    repeats=entry.taken.repeats,
                )
            )
        first = self.index.passages
        self.index.add(new)
        own = [entry for entry in new if entry.repeats is None]
        ends = first + np.cumsum([len(entry.vectors) for entry in own], dtype=np.int64)
        self._stream.indexed(
            [np.arange(end - len(e.vectors), end) for e, end in zip(own, ends, strict=True) if e.learn]
        )

    # --- identity -------------------------------------------------------------------------------------------------

    def state_hash(self, weights: bytes | None) -> str:
        """SHA-256 over weights, momentum, tail, statistics and the entries' content in order (docs/concepts.md).

        Over the context memory's stream, too, where there is one. Never over seq, uid, snapshots, clocks, nor what the
        server assigned. `weights` are the packed ones, None when nothing was stepped.
        """
        digest = hashlib.sha256(self.index.content())
        for part in (
            weights or b"",
            self.tail.tobytes(),
            msgpack.packb([self.gate.to_values(), self.drift.to_values(), astuple(self.totals)]),
            *(() if self.context is None else (self.context.model.encode(), self.context.pack())),
        ):
            digest.update(struct.pack("<Q", len(part)))
            digest.update(part)
        return digest.hexdigest()

    # --- snapshots ------------------------------------------------------------------------------------------------

    def snapshot(self, weights: bytes | None, encoder: str, segments: "Segments") -> Snapshot:
        """Save the view at a record's boundary.

        `encoder` names what the vectors mean; `segments` remembers which parts of the index are stored already and is
        brought up to date.
        """
        # Under another encoder the same log comes to other bytes, which a store takes for damage under the same name.
        mark = hashlib.sha256(f"{FORMAT} {encoder}".encode()).hexdigest()[:8]
        losses = self.index.losses()
        lost = np.flatnonzero(losses[: segments.entries] != segments.losses)
        names: list[str] = []
        fresh: dict[str, bytes] = {}
        for name in segments.names:
            start, stop = _bounds(name)
            if np.diff(np.searchsorted(lost, (start, stop))):
                own, data = self.index.segment(start, stop, losses)
                fresh[name := f"{own}-{mark}"] = data
            names.append(name)
        for name, data in self.index.segments(segments.entries).items():
            fresh[f"{name}-{mark}"] = data
            names.append(f"{name}-{mark}")
        at = f"{self.applied_seq}-{mark}"
        meta = {
            "format": FORMAT,
            "encoder": encoder,
            "fingerprint": self.fingerprint,
            "config": asdict(self.config),
            "policies": asdict(self.policies),
            "gate": self.gate.to_values(),
            "drift": self.drift.to_values(),
            "events": [event.to_values() for event in self.events],
            "totals": list(astuple(self.totals)),
            "owners": self.tail_owners.tolist(),
            "segments": names,
            "without_lost": True,
            "at": at,
            "weights": weights is not None,
        }
        blobs: dict[str, bytes | None] = {**dict.fromkeys(names), **fresh}
        blobs[f"tail-{at}"] = self.tail.tobytes()
        blobs[f"changing-{at}"] = self.index.changing_bytes()
        if weights is not None:
            blobs[f"weights-{at}"] = weights
        if self.context is not None:
            meta["context"], blobs[f"context-{at}"] = self.context.model, self.context.pack()
        segments.names, segments.entries, segments.losses = names, len(self.index), losses
        return Snapshot(seq=self.applied_seq, meta=msgpack.packb(meta), blobs=blobs)

    @classmethod
    def restore(cls, snapshot: Snapshot, width: int, encoder: str) -> "tuple[View, Segments] | None":
        """Return the view that was saved, or None where its vectors mean nothing to this encoder.

        Raises:
            DataLossError: the snapshot verifies but does not fit together.
        """
        with damage.told_as(f"the snapshot at {snapshot.seq} does not fit together"):
            return cls._restore(snapshot, width, encoder)

    @classmethod
    def _restore(cls, snapshot: Snapshot, width: int, encoder: str) -> "tuple[View, Segments] | None":
        values = Values(snapshot.meta)
        meta = values.whole(MOST_OF_META + len(snapshot.blobs))
        values.end()
        if meta["format"] != FORMAT or meta["encoder"] != encoder or meta["config"]["width"] != width:
            return None
        at = meta.get("at", snapshot.seq)  # before it was written, the seq alone

        def blob(name: str) -> bytes:
            data = snapshot.blobs.get(name)
            if data is None:
                raise DataLossError(f"the snapshot at {snapshot.seq} lacks its part {name}")
            return data

        view = cls(width)
        view.config, view.policies = MemoryConfig(**meta["config"]), Policies(**meta["policies"])
        check_types(view.config)
        check_types(view.policies)
        view.fingerprint = meta["fingerprint"]
        if not isinstance(view.fingerprint, str):
            raise TypeError("no name of numerics")
        view.applied_seq = snapshot.seq
        view.index = Index.load(width, [blob(name) for name in meta["segments"]], blob(f"changing-{at}"))
        view.gate = GateState.from_values(meta["gate"])
        view.drift = DriftState.from_values(meta["drift"])
        view.events.extend(_event(*values) for values in meta["events"])
        view.totals = _totals(meta["totals"])
        view.weights = blob(f"weights-{at}") if meta["weights"] else None
        if (view.weights is None) != (view.totals.chunks == 0):
            raise DataLossError("the snapshot's chunks do not fit its weights")
        if (model := meta.get("context")) is not None:
            if not isinstance(model, str):
                raise TypeError("no name of a model")
            view.context = ContextStream(model, blob(f"context-{at}"))
        tail = np.frombuffer(blob(f"tail-{at}"), np.float32).reshape(-1, width).copy()
        owners = np.array(meta["owners"], np.int64)
        if owners.shape != (len(tail),) or len(tail) >= view.config.chunk:
            raise DataLossError("the snapshot's tail does not fit its entries")
        if not view.index.holds(owners):
            raise DataLossError("the snapshot's tail is of other entries")
        view._stream.restore(tail, owners, view.totals.chunks, view.index.learnt_passages)
        view._watch_texts()
        starts, stops = zip(*map(_bounds, meta["segments"]), strict=True) if meta["segments"] else ((), ())
        if (*starts, len(view.index)) != (0, *stops):
            raise DataLossError("the snapshot's parts of the index do not follow one another")
        losses = view.index.losses()
        if not meta.get("without_lost"):  # before it was written, what was destroyed stayed
            if lost := np.flatnonzero(losses).tolist():
                view.index.lose_from(view.index.seq(lost[0]))
            losses = np.zeros_like(losses)
        return view, Segments(names=list(meta["segments"]), entries=len(view.index), losses=losses)


@dataclass(slots=True, kw_only=True)
class Segments:
    """Which parts of an index are in the store already."""

    names: list[str]
    entries: int
    losses: NDArray[np.uint8] = field(default_factory=lambda: np.zeros(0, np.uint8))
    """[entries], what they lack of entries that are destroyed: see `Index.losses`."""


def _bounds(name: str) -> tuple[int, int]:
    """Return the positions of the first entry of a part of an index, and of the first after it."""
    start, stop = name.split("-")[1:3]
    return int(start), int(stop)


def _totals(values: Iterable[Any]) -> Totals:
    totals = Totals(**dict(zip((field.name for field in fields(Totals)), values, strict=True)))
    check_types(totals)
    if min(astuple(totals)) < 0:
        raise ValueError("statistics below 0")
    return totals


def _event(seq: int, kind: str, figures: Mapping[str, float]) -> Event:
    if not isinstance(seq, int) or not isinstance(kind, str) or not all(isinstance(name, str) for name in figures):
        raise TypeError("no event")
    return Event(seq=seq, kind=kind, figures={name: float(value) for name, value in figures.items()})
