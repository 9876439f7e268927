"""From committed records to applied ones: tokenise, encode by length across tenants, step the memories, make visible.

Work is cut into units, each short enough that a read may come in between. None of the cuts shows in any tenant's
state: encoding is a function of the passage and its padded length alone, and each tenant's entries are applied in its
log's order.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from memsvc.engine.runner import Runner
from memsvc.engine.scheduler import Scheduler
from memsvc.recall.encoder import Encoded, Passage, Split
from memsvc.store.types import Record, RecordKind
from memsvc.tenant.chunk import Chunk, Indexed, Replay
from memsvc.tenant.record import Content, decode_payload
from memsvc.tenant.view import View

log = logging.getLogger(__name__)

WINDOW_TOKENS = 4096
"""Tokens taken together: enough texts of each length for full batches, and less than a second of work."""
BACKGROUND_TOKENS = 1024
"""The same for work that nobody waits for: what comes meanwhile waits little."""
BYTES_PER_TOKEN = 4
STEP_CHUNKS = 16
"""Chunks in one unit of work."""


@dataclass(slots=True)
class Lane:
    """One tenant's way through the engine."""

    uid: str
    view: View
    applied: Callable[[Record], None]
    """Called on the engine's thread once a record is applied."""
    failed: Callable[[BaseException], None]
    """Called on the engine's thread when the lane cannot go on; it is detached then."""
    background: bool = False
    """Whether its work waits for all others'."""
    at_boundary: list[Callable[[], None]] = field(default_factory=list)
    """What waits for the view to stand between two records."""


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


@dataclass(slots=True)
class _Finish:
    """A record whose entries are all fed; it becomes visible once the chunks before it are stepped."""

    record: Record
    entries: list[Indexed]


class Ingest:
    """All tenants' committed records that are not applied yet."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._scheduler: Scheduler[_Entry] = Scheduler()
        self._background: Scheduler[_Entry] = Scheduler()
        self._window: list[_Entry] = []
        self._batches: deque[_Batch] = deque()
        self._fed: deque[_Entry] = deque()
        self._actions: dict[str, deque[Chunk | Replay | _Finish]] = {}
        self._open: dict[str, list[Indexed]] = {}
        """Entries fed of the record under way, per tenant."""
        self._lanes: dict[str, Lane] = {}

    @property
    def idle(self) -> bool:
        """Whether nothing waits."""
        return not (self._scheduler or self._background or self._window or self._fed or self._actions)

    def attach(self, lane: Lane) -> None:
        """Take a tenant in."""
        self._lanes[lane.uid] = lane
        self._runner.attach(lane.uid, lane.view)

    def detach(self, uid: str) -> None:
        """Let a tenant go; what waits of it is dropped (it is in the log)."""
        if self._lanes.pop(uid, None) is not None:
            self._scheduler.drop(uid)
            self._background.drop(uid)
            self._actions.pop(uid, None)
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
        """Do one unit of work, encoding at most about that many tokens; False when there is none."""
        if self._actions:
            self._step()
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
        actions = self._actions.setdefault(uid, deque())
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
            actions.append(_Finish(entry.record, self._open.pop(uid)))

    def _step(self) -> None:
        """Step the head chunk of as many tenants as fit, a few times over; finish what is complete."""
        self._finish()
        budget = STEP_CHUNKS
        while self._actions and budget > 0:
            shape = self._runner.shape_of(next(iter(self._actions)))
            uids = [uid for uid in self._actions if self._runner.shape_of(uid) == shape]
            del uids[min(self._runner.width, budget) :]
            budget -= len(uids)
            heads = [(uid, self._actions[uid].popleft()) for uid in uids]
            steps = [(uid, self._chunk(uid, head)) for uid, head in heads if not isinstance(head, _Finish)]
            results = self._runner.step([uid for uid, _ in steps], [chunk for _, chunk in steps])
            for (uid, chunk), result in zip(steps, results, strict=True):
                self._lanes[uid].view.stepped(chunk, result)
            self._finish()

    def _chunk(self, uid: str, head: Chunk | Replay) -> Chunk:
        return head if isinstance(head, Chunk) else self._lanes[uid].view.draw(head)

    def _finish(self) -> None:
        """Finish the records whose chunks are all stepped."""
        for uid in list(self._actions):
            actions, lane = self._actions[uid], self._lanes[uid]
            while actions and isinstance(finish := actions[0], _Finish):
                actions.popleft()
                if not self._guard(lane, partial(lane.view.finish, finish.record, finish.entries)):
                    break
                lane.applied(finish.record)
            if not actions:
                self._actions.pop(uid, None)
                self._run_at_boundary(lane)

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
        if self._lanes.get(lane.uid) is lane and lane.uid not in self._actions and lane.uid not in self._open:
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
        under_way = {id(e.lane): e.lane for e in (*self._window, *self._fed)}
        lanes = [*under_way.values(), *(self._lanes[uid] for uid in self._actions)]
        self._window.clear()
        self._fed.clear()
        self._batches.clear()
        self.fail(lanes, error)

    def check_integrity(self) -> None:
        """Assert what must always hold.

        Raises:
            RuntimeError: it does not.
        """
        self._scheduler.check_integrity()
        self._background.check_integrity()
        self._runner.check_integrity()
        if not set(self._actions) <= set(self._lanes) or not set(self._open) <= set(self._lanes):
            raise RuntimeError("work is under way for a tenant that is not attached")


def _decode(entry: _Entry) -> None:
    if entry.record.entries:
        entry.content = decode_payload(entry.record.entries[entry.position].payload)
