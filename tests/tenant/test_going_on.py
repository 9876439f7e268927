"""A view that is saved and restored, at any time and however often, goes on as one that never left the memory."""

import random
from collections.abc import Sequence
from dataclasses import replace

import msgpack
import numpy as np
import pytest

from memsvc.engine.ingest import Ingest, Lane
from memsvc.engine.runner import Runner
from memsvc.memory.config import MemoryConfig
from memsvc.recall.encoder import load_encoder
from memsvc.recall.filter import Filter
from memsvc.recall.rank import Query, RankConfig, rank
from memsvc.recall.rows import unpack
from memsvc.store.retention import left
from memsvc.store.types import Record, RecordKind, Retention, Snapshot, StoredEntry
from memsvc.tenant.policies import Policies
from memsvc.tenant.record import Content, encode_configure, encode_create, encode_feedback, encode_payload
from memsvc.tenant.view import Segments, View

WORDS = ("zanzibar", "quagga", "okapi", "numbat", "river", "stone", "bread", "winter", "harbour", "lantern")
QUERIES = ("zanzibar river", "Quagga okapi", "numbat")
FILTERS = (None, Filter.parse(session="s1"), Filter.parse(role="user"))


@pytest.fixture(scope="module")
def runner() -> Runner:
    return Runner(load_encoder("kmer", threads=1, dtype="float32"), slots=4)


class Log:
    """Writes, updates, deaths, feedback and changes of settings, as a die says."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self._living: list[int] = []
        self._contents: list[Content] = []
        policies = Policies(duplicates=dice.choice(["keep", "merge", "merge"]), max_entries=dice.choice([1000, 3, 6]))
        memory = MemoryConfig(width=1, chunk=16, replay=dice.choice([0, 2]))
        body = encode_create(memory, "f", policies)
        self.records = [Record(seq=1, commit_us=1, kind=RecordKind.CREATE, body=body)]

    def go_on(self) -> Record:
        dice, alive = self._dice, self._living
        kind = dice.choices(["write", "update", "end", "rate", "configure", "restart"], [45, 10, 30, 5, 6, 4])[0]
        if not alive or kind == "write":
            return self._append(RecordKind.WRITE, [self._content() for _ in range(dice.randint(1, 4))])
        if kind == "update":
            old = self._end(dice.choice(alive))
            content = self._contents[old - 1] if dice.random() < 0.3 else self._content()
            return self._append(RecordKind.UPDATE, [content], about=(old,))
        if kind == "end":
            ends = sorted(dice.sample(alive, min(len(alive), dice.randint(1, 3))))
            about = tuple(self._end(number) for number in ends)
            return self._append(dice.choice([RecordKind.DELETE, RecordKind.EXPIRE]), about=about)
        if kind == "rate":
            about = (dice.randint(1, len(self._contents)),)
            return self._append(RecordKind.FEEDBACK, about=about, body=encode_feedback(useful=True))
        if kind == "configure":
            changes = dice.choice(
                [{"duplicates": "keep"}, {"duplicates": "merge"}, {"max_entries": dice.randint(3, 9)}]
            )
            return self._append(RecordKind.CONFIGURE, body=encode_configure({}, changes))
        return self._append(RecordKind.RESTART)

    def _content(self) -> Content:
        dice = self._dice
        words = " ".join(dice.choices(WORDS, k=30)) if dice.random() < 0.2 else dice.choice(WORDS[:4])
        return Content(
            text=dice.choice([words, words, words.upper()]),
            session=dice.choice(["", "s1", "s2"]),
            role=dice.choice(["", "user", "bot"]),
            metadata_json=dice.choice(["", '{"x": 1}', '{"y": "okapi"}']),
            learn=dice.random() < 0.4,
        )

    def _end(self, number: int) -> int:
        self._living.remove(number)
        return number

    def _append(self, kind: RecordKind, contents: Sequence[Content] = (), **fields) -> Record:
        seq, stored = len(self.records) + 1, []
        for content in contents:
            self._contents.append(content)
            self._living.append(number := len(self._contents))
            payload = replace(encode_payload(str(number), content), content_hash=number.to_bytes(32, "big"))
            stored.append(StoredEntry(number=number, seq=seq, commit_us=seq, payload=payload))
        self.records.append(Record(seq=seq, commit_us=seq, kind=kind, entries=tuple(stored), **fields))
        return self.records[-1]


class Fold:
    """A view in a runner."""

    def __init__(self, runner: Runner, uid: str, view: View) -> None:
        self.uid, self.view, self._runner, self._failures = uid, view, runner, []
        self._ingest = Ingest(runner)
        self._ingest.attach(Lane(uid, view, lambda record: None, self._failures.append))

    def go_on(self, records: Sequence[Record]) -> None:
        for record in records:
            self._ingest.push(self._ingest.lane(self.uid), record)
        while self._ingest.unit(64):
            pass
        assert not self._failures

    @property
    def weights(self) -> bytes | None:
        return self._runner.weights(self.uid)

    def told(self) -> list:
        """All that a caller can find out, and what later records depend on."""
        index = self.view.index
        living = index._number.values[index._lives.lives].tolist()
        return [
            self.view.state_hash(self.weights),
            [rank(index, self._query(text), RankConfig(), 100, filter) for text in QUERIES for filter in FILTERS],
            [index.neighbours(number, 2) for number in living],
            (index.living, index.evicted, index.merged, index.passages, index.importance().tolist()),
            index.changing_bytes(),
            index.learnt_passages.tolist(),
            list(self.view.events),
        ]

    def _query(self, text: str) -> Query:
        rows = np.random.default_rng(len(text)).standard_normal((2, self.view.index.dim)).astype(np.float32)
        return Query(text, *rows / np.linalg.norm(rows, axis=1, keepdims=True))


class Saved:
    """Snapshots as a store keeps them, and as a keeper saves them."""

    def __init__(self, keep: Retention) -> None:
        self._keep, self._segments, self._newest = keep, Segments(names=[], entries=0), 0
        self._snapshots: dict[int, Snapshot] = {}
        self._blobs: dict[str, bytes] = {}

    def save(self, fold: Fold, *, fails: bool) -> None:
        segments, index = replace(self._segments), fold.view.index
        snapshot, lost_from = fold.view.snapshot(fold.weights, "kmer", segments), index.begin_save()
        if fails:
            return
        for name, data in snapshot.blobs.items():
            assert self._blobs.setdefault(name, data) == (data or self._blobs[name])
        stay = left(self._snapshots, snapshot.seq, self._keep, lost_from if lost_from <= self._newest else None)
        self._snapshots = {s.seq: s for s in [*self._snapshots.values(), snapshot] if s.seq in stay}
        names = {name for each in self._snapshots.values() for name in each.blobs}
        self._blobs = {name: data for name, data in self._blobs.items() if name in names}
        self._segments, self._newest = segments, max(self._newest, snapshot.seq)
        index.saved_without_lost()

    def restored(self, width: int) -> View | None:
        if not self._snapshots:
            return None
        self._newest = max(self._snapshots)
        snapshot = self._snapshots[self._newest]
        whole = replace(snapshot, blobs={name: self._blobs[name] for name in snapshot.blobs})
        view, self._segments = View.restore(whole, width, "kmer")
        return view

    def keys_of(self, numbers: set[int]) -> set[bytes]:
        """What all snapshots say of the texts of entries, and whether there is metadata of them."""
        keys: set[bytes] = set()
        for snapshot in self._snapshots.values():
            for rows in (unpack(self._blobs[name]) for name in msgpack.unpackb(snapshot.meta)["segments"]):
                of = [i for i, number in enumerate(rows.number.tolist()) if number in numbers]
                keys |= {rows.text_key[i].tobytes() + bytes([rows.key_count[i]]) for i in of}
        return keys


@pytest.mark.parametrize("seed", range(12))
def test_it_goes_on_as_if_it_had_never_left(runner, monkeypatch, seed) -> None:
    monkeypatch.setattr("memsvc.recall.index.SEGMENT_ENTRIES", 4)
    dice = random.Random(seed)
    log, saved, width = Log(dice), Saved(dice.choice(list(Retention))), runner.encoder.dim
    stays, goes = Fold(runner, "stays", View(width)), Fold(runner, "goes", View(width))
    try:
        for _ in range(12):
            new = log.records[stays.view.applied_seq :] + [log.go_on() for _ in range(dice.randint(1, 3))]
            stays.go_on(new)
            goes.go_on(new)
            if dice.random() < 0.6:
                saved.save(goes, fails=dice.random() < 0.2)
                lost = set(goes.view.index.lost.tolist())
                if goes.view.index.lost_from > saved._newest:
                    assert saved.keys_of(lost) <= {bytes(17)}, "what does not learn left with the entry"
            if dice.random() < 0.5 and (view := saved.restored(width)) is not None:
                runner.detach("goes")
                goes = Fold(runner, "goes", view)
                goes.go_on(log.records[view.applied_seq :])
            assert goes.told() == stays.told()
    finally:
        runner.detach("stays")
        runner.detach("goes")
