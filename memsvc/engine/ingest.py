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

from memsvc.engine.arrival import Arrival, Batch, batched
from memsvc.engine.runner import Runner
from memsvc.engine.scheduler import Scheduler
from memsvc.store.types import Record
from memsvc.tenant.chunk import Chunk, Indexed, Replay
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
class _Finish:
    """A record whose entries are all fed; it becomes visible once the chunks before it are stepped."""

    record: Record
    entries: list[Indexed]


class Ingest:
    """All tenants' committed records that are not applied yet."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._scheduler: Scheduler[Arrival] = Scheduler()
        self._background: Scheduler[Arrival] = Scheduler()
        self._window: list[Arrival] = []
        self._later: list[Arrival] = []
        """Entries behind a change of settings; they are taken up once it is finished."""
        self._batches: deque[Batch] = deque()
        self._fed: deque[Arrival] = deque()
        self._actions: dict[str, deque[Chunk | Replay | _Finish]] = {}
        self._open: dict[str, list[Indexed]] = {}
        """Entries fed of the record under way, per tenant."""
        self._lanes: dict[str, Lane] = {}

    @property
    def idle(self) -> bool:
        """Whether nothing waits."""
        return not (self._scheduler or self._background or self._window or self._later or self._fed or self._actions)

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
            scheduler.push(uid, Arrival(lane, record, 0), 1)
            return
        for position, stored in enumerate(record.entries):
            # Decoded when its turn comes: a queue holds bytes, not objects.
            cost = len(stored.payload.data) // BYTES_PER_TOKEN + 1
            scheduler.push(uid, Arrival(lane, record, position), cost)

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
        elif self._later or self._scheduler or self._background:
            self._fill(max_tokens)
        else:
            return False
        return True

    # --- the phases -----------------------------------------------------------------------------------------------

    def _fill(self, max_tokens: int) -> None:
        """Take entries, fairly, tokenise those with a text of their own, and make batches of their passages.

        All that was taken before is finished by now, but for records whose entries are not all taken yet.
        """
        self._window = self._take_up(self._later or self._take())
        dim = self._runner.encoder.dim
        texts = [(arrival, text) for arrival in self._window if (text := arrival.text(dim)) is not None]
        splits = self._runner.split([text for _, text in texts])
        for (arrival, _), split in zip(texts, splits, strict=True):
            arrival.split_into(split)
        self._batches = batched(self._window, max_tokens)

    def _take(self) -> list[Arrival]:
        taken = self._scheduler.take(WINDOW_TOKENS) or self._background.take(BACKGROUND_TOKENS)
        return [entry for _, entry in taken]

    def _take_up(self, entries: list[Arrival]) -> list[Arrival]:
        """Let the views take up entries, in order; return them, less those that wait for settings or cannot be read."""
        self._later = []
        settling: set[str] = set()
        readable = []
        for entry in entries:
            lane = entry.lane
            if lane.uid in settling:
                self._later.append(entry)
            elif self._lanes.get(lane.uid) is lane and self._guard(lane, entry.take_up):
                readable.append(entry)
                if lane.view.settles(entry.record):
                    settling.add(lane.uid)
        return readable

    def _encode(self, batch: Batch) -> None:
        for (entry, i), encoded in zip(batch.places, self._runner.encode(batch.passages), strict=True):
            entry.encoded[i] = encoded

    def _feed(self) -> None:
        """Feed entries to their views, in order; what they fill is stepped next."""
        held: deque[Arrival] = deque()
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

    def _feed_one(self, entry: Arrival) -> None:
        view, uid = entry.lane.view, entry.lane.uid
        actions = self._actions.setdefault(uid, deque())
        entries = self._open.setdefault(uid, [])
        if (found := entry.indexed(self._runner.encoder.dim)) is not None:
            indexed, states, unknown = found
            if indexed.content.learn and indexed.taken.repeats is None:
                actions.extend(view.feed(indexed.number, states, indexed.vectors, indexed.tokens, unknown))
            entries.append(indexed)
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
        under_way = {id(e.lane): e.lane for e in (*self._window, *self._later, *self._fed)}
        lanes = [*under_way.values(), *(self._lanes[uid] for uid in self._actions)]
        self._window.clear()
        self._later.clear()
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
