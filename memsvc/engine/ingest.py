"""From committed records to applied ones: tokenise, encode by length across tenants, step the memories, make visible.

Work is cut into units, each short enough that a read may come in between. None of the cuts shows in any tenant's
state: encoding is a function of the passage and its padded length alone, and each tenant's entries are applied in its
log's order.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from memsvc.engine.lane import Lane
from memsvc.engine.runner import Runner
from memsvc.engine.scheduler import Scheduler
from memsvc.engine.steps import Action, Finish, Steps
from memsvc.recall.encoder import Encoded, Passage, Split
from memsvc.store.types import Record, RecordKind
from memsvc.tenant.chunk import Indexed
from memsvc.tenant.record import Content, decode_payload

log = logging.getLogger(__name__)

WINDOW_TOKENS = 4096
"""Tokens taken together: enough texts of each length for full batches, and less than a second of work."""
BACKGROUND_TOKENS = 1024
"""The same for work that nobody waits for: what comes meanwhile waits little."""
BYTES_PER_TOKEN = 4


@dataclass(slots=True)
class _Entry:
    """One entry of a record, on its way."""

    lane: Lane
    record: Record
    position: int
    content: Content | None
    """None for a record without entries."""
    split: Split | None = None
    encoded: list[Encoded | None] = field(default_factory=list)

    @property
    def last(self) -> bool:
        return self.position >= len(self.record.entries) - 1


@dataclass(slots=True)
class _Batch:
    """Passages to encode together; places say whose they are."""

    passages: list[Passage] = field(default_factory=list)
    places: list[tuple[_Entry, int]] = field(default_factory=list)


class Ingest:
    """All tenants' committed records that are not applied yet.

    Args:
        runner: computes.
        offload: whether weights leave their slots between a tenant's steps (see `Steps`).
        clock: seconds.
    """

    def __init__(self, runner: Runner, *, offload: bool = False, clock: Callable[[], float] = time.monotonic) -> None:
        self._runner = runner
        self._scheduler: Scheduler[_Entry] = Scheduler()
        self._background: Scheduler[_Entry] = Scheduler()
        self._window: list[_Entry] = []
        self._batches: deque[_Batch] = deque()
        self._fed: deque[_Entry] = deque()
        self._steps = Steps(runner, self._finish, self._run_at_boundary, clock, offload=offload)
        self._open: dict[str, list[Indexed]] = {}
        """Entries fed of the record under way, per tenant."""
        self._lanes: dict[str, Lane] = {}

    def due_in(self) -> float | None:
        """Return the seconds until there is something to do; None while there is nothing."""
        if self._scheduler or self._background or self._window or self._fed:
            return 0.0
        return self._steps.due_in()

    def attach(self, lane: Lane) -> None:
        """Take a tenant in."""
        self._lanes[lane.uid] = lane
        self._runner.attach(lane.uid, lane.view)

    def detach(self, uid: str) -> None:
        """Let a tenant go; what waits of it is dropped (it is in the log)."""
        if self._lanes.pop(uid, None) is not None:
            self._scheduler.drop(uid)
            self._background.drop(uid)
            self._steps.drop(uid)
            self._open.pop(uid, None)
            self._runner.detach(uid)

    def lane(self, uid: str) -> Lane | None:
        """Return the tenant's lane."""
        return self._lanes.get(uid)

    def push(self, uid: str, record: Record) -> None:
        """Queue a committed record. A tenant's records come in the order of their seq."""
        lane = self._lanes.get(uid)
        if lane is None:
            return
        scheduler = self._background if lane.background else self._scheduler
        if not record.entries:
            scheduler.push(uid, _Entry(lane, record, 0, None), 1)
            return
        for position, stored in enumerate(record.entries):
            # Decoded when its turn comes: a queue holds bytes, not objects.
            cost = len(stored.payload.data) // BYTES_PER_TOKEN + 1
            scheduler.push(uid, _Entry(lane, record, position, None), cost)

    def unit(self, max_tokens: int) -> bool:
        """Do one unit of work, encoding at most about that many tokens; False when there is none to do now."""
        if self._steps.due_in() == 0.0:
            self._steps.unit()
        elif self._batches:
            self._encode(self._batches.popleft())
        elif self._window:
            self._fed.extend(self._window)
            self._window.clear()
            self._feed()
        elif self._fed:
            self._feed()
        elif self._scheduler or self._background:
            self._fill(max_tokens)
        else:
            return False
        return True

    # --- the phases -----------------------------------------------------------------------------------------------

    def _fill(self, max_tokens: int) -> None:
        """Take entries, fairly, tokenise them, and make batches of their passages."""
        taken = self._scheduler.take(WINDOW_TOKENS) or self._background.take(BACKGROUND_TOKENS)
        entries = [entry for _, entry in taken]
        readable = [entry for entry in entries if self._guard(entry.lane, partial(_decode, entry))]
        texts = [entry for entry in readable if entry.content is not None and not self._given(entry.content)]
        splits = self._runner.split([entry.content.text for entry in texts if entry.content is not None])
        rows: list[tuple[Passage, _Entry, int]] = []
        for entry, split in zip(texts, splits, strict=True):
            entry.split = split
            entry.encoded = [None] * len(split.passages)
            rows += [(passage, entry, i) for i, passage in enumerate(split.passages)]
        # Passages of like length go together: they fill up to what a forward pass takes.
        tokens = max_tokens
        for passage, entry, i in sorted(rows, key=lambda row: len(row[0].ids)):
            tokens += len(passage.ids)
            if tokens > max_tokens:
                self._batches.append(_Batch())
                tokens = len(passage.ids)
            self._batches[-1].passages.append(passage)
            self._batches[-1].places.append((entry, i))
        self._window = readable

    def _given(self, content: Content) -> bool:
        # A vector of another width was given to another encoder; the text is what counts then.
        return len(content.vector) == 4 * self._runner.encoder.dim

    def _encode(self, batch: _Batch) -> None:
        for (entry, i), encoded in zip(batch.places, self._runner.encode(batch.passages), strict=True):
            entry.encoded[i] = encoded

    def _feed(self) -> None:
        """Feed entries to their views, in order; what they fill is stepped next."""
        held: deque[_Entry] = deque()
        halted: set[str] = set()
        while self._fed:
            entry = self._fed.popleft()
            lane = entry.lane
            if self._lanes.get(lane.uid) is not lane:
                continue
            if lane.uid in halted:
                held.append(entry)
                continue
            self._guard(lane, partial(self._feed_one, entry))
            if entry.last and lane.at_boundary:
                halted.add(lane.uid)
        self._fed = held

    def _feed_one(self, entry: _Entry) -> None:
        view, uid = entry.lane.view, entry.lane.uid
        actions: list[Action] = []
        entries = self._open.setdefault(uid, [])
        if entry.record.kind is RecordKind.CREATE:
            view.create(entry.record)
        if entry.content is not None:
            number = entry.record.entries[entry.position].number
            if entry.split is None:
                states = vectors = np.frombuffer(entry.content.vector, np.float32)[None]
                spans = np.array([[0, len(entry.content.text)]], np.int32)
                tokens, unknown = 1, 0
            else:
                encoded = [e for e in entry.encoded if e is not None]
                states = np.concatenate([e.states for e in encoded])
                vectors = np.stack([e.pooled for e in encoded])
                spans = np.array([[p.start, p.end] for p in entry.split.passages], np.int32)
                tokens, unknown = entry.split.tokens, entry.split.unknown
            if entry.content.learn:
                actions.extend(view.feed(number, states, vectors, tokens, unknown))
            entries.append(Indexed(number, entry.content, vectors, spans, tokens))
        if entry.last:
            actions.append(Finish(entry.record, self._open.pop(uid)))
        if actions:
            self._steps.add(entry.lane, actions)

    def _finish(self, lane: Lane, finish: Finish) -> bool:
        """Make a record visible; return whether the tenant can go on."""
        if not self._guard(lane, partial(lane.view.finish, finish.record, finish.entries)):
            return False
        lane.applied(finish.record)
        return True

    def hurry(self, uid: str, seq: int) -> None:
        """Someone waits for a tenant's record: it waits for nothing else but its turn."""
        if (lane := self._lanes.get(uid)) is not None:
            lane.wanted_seq = max(lane.wanted_seq, seq)

    # --- the state between two records ----------------------------------------------------------------------------

    def at_boundary(self, uid: str, job: Callable[[], None]) -> None:
        """Run a job when the tenant's view stands between two records: now, or as soon as it does.

        Raises:
            KeyError: the tenant is not attached.
        """
        lane = self._lanes[uid]
        lane.at_boundary.append(job)
        self._run_at_boundary(lane)

    def _run_at_boundary(self, lane: Lane) -> None:
        if self._lanes.get(lane.uid) is lane and lane.uid not in self._steps and lane.uid not in self._open:
            jobs, lane.at_boundary = lane.at_boundary, []
            for job in jobs:
                job()

    # --- when something goes wrong --------------------------------------------------------------------------------

    def _guard(self, lane: Lane, work: Callable[[], None]) -> bool:
        """Do one tenant's work; a failure is that tenant's alone."""
        try:
            work()
        except Exception as error:
            log.exception("tenant %s: its view cannot go on", lane.uid)
            self.fail([lane], error)
            return False
        return True

    def fail(self, lanes: Iterable[Lane], error: BaseException) -> None:
        """Detach tenants whose view cannot go on; their log is untouched and folds afresh when next asked for."""
        for lane in list(lanes):
            if self._lanes.get(lane.uid) is lane:
                self.detach(lane.uid)
                lane.failed(error)

    def fail_all(self, error: BaseException) -> None:
        """Detach everyone that has work under way, after a failure that is nobody's in particular."""
        under_way = {id(lane): lane for lane in (*(e.lane for e in (*self._window, *self._fed)), *self._steps.lanes)}
        self._window.clear()
        self._fed.clear()
        self._batches.clear()
        self.fail(under_way.values(), error)

    def check_integrity(self) -> None:
        """Assert what must always hold.

        Raises:
            RuntimeError: it does not.
        """
        self._scheduler.check_integrity()
        self._background.check_integrity()
        self._runner.check_integrity()
        if (
            any(self._lanes.get(lane.uid) is not lane for lane in self._steps.lanes)
            or not self._open.keys() <= self._lanes.keys()
        ):
            raise RuntimeError("work is under way for a tenant that is not attached")


def _decode(entry: _Entry) -> None:
    if entry.record.entries:
        entry.content = decode_payload(entry.record.entries[entry.position].payload)
