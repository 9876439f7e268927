"""From committed records to applied ones: tokenise, encode by length across tenants, step the memories, make visible.

Work is cut into units, each short enough that a read may come in between. None of the cuts shows in any tenant's
state: encoding is a function of the passage and its padded length alone, and each tenant's entries are applied in its
log's order.
"""

import itertools
import logging
import math
import time
from collections import deque
from collections.abc import Callable, Container, Iterable
from functools import partial

from memsvc.engine.arrival import Arrival, Batch, Lot, batched
from memsvc.engine.counters import Counters
from memsvc.engine.lane import Lane
from memsvc.engine.runner import Runner
from memsvc.engine.scheduler import Scheduler
from memsvc.engine.steps import BRIEF_S, Action, Finish, Steps
from memsvc.engine.under_way import UnderWay
from memsvc.engine.way import Way
from memsvc.errors import UnavailableError
from memsvc.observer import SILENT, Observer
from memsvc.store.types import Record
from memsvc.tenant.view import View

log = logging.getLogger(__name__)

WINDOW_TOKENS = 4096
"""Tokens taken together: enough texts of each length for full batches, and less than a second of work."""
BRIEF_TOKENS = 1024
"""The same while there are readers, and for work that nobody waits for: what comes meanwhile waits little."""
LONG_BATCHES, LOTS = 32, 4
"""A lot with more batches to encode is long: others are taken in beside it. How many lots there are at most."""
BACKGROUND_SHARE = 1 / 4
"""Of the tokens, while there is no end of other work: what is to be erased or verified comes to an end."""
BYTES_PER_TOKEN = 4


class Ingest:
    """All tenants' committed records that are not applied yet.

    Args:
        runner: computes.
        offload: whether weights leave their slots between a tenant's steps (see `Steps`).
        clock: seconds.
        observer: hears of every record that was committed here, once it is applied.
    """

    def __init__(
        self,
        runner: Runner,
        *,
        offload: bool = False,
        clock: Callable[[], float] = time.monotonic,
        observer: Observer = SILENT,
    ) -> None:
        self._runner, self._clock, self._observer = runner, clock, observer
        self.counters = Counters()
        self._scheduler: Scheduler[Arrival] = Scheduler()
        self._background: Scheduler[Arrival] = Scheduler()
        self._live_served = 0
        """Tokens that were served when background work last was."""
        self._lots: deque[Lot] = deque()
        """Those being encoded, the next first. Of no tenant are there entries in two."""
        self._later: list[Arrival] = []
        """Entries behind a change of settings; they are taken up once it is finished."""
        self._fed: deque[Arrival] = deque()
        self._steps = Steps(runner, self._finish, self._run_at_boundary, clock, self.counters, offload=offload)
        self._open: dict[str, UnderWay] = {}
        """The record under way, per tenant."""
        self._lanes: dict[str, Lane] = {}
        self._stepped_last = False

    def due_in(self) -> float | None:
        """Return the seconds until there is something to do; None while there is nothing."""
        if self._scheduler or self._background or self._lots or self._later or self._fed:
            return 0.0
        return self._steps.due_in()

    def attach(self, lane: Lane) -> None:
        """Take a tenant in; a lane of its that is still here goes before, with its weights, and hears so."""
        if (before := self._lanes.get(lane.uid)) is not None:
            self.detach(before)
            before.failed(UnavailableError("another view took this one's place", reason="VIEW_DETACHED"))
        self._lanes[lane.uid] = lane
        self._runner.attach(lane.uid, lane.view)

    def detach(self, lane: Lane) -> None:
        """Let a tenant go, unless it has another lane by now; what waits of it is dropped (it is in the log)."""
        uid = lane.uid
        if self._lanes.get(uid) is not lane:
            return
        del self._lanes[uid]
        self._scheduler.drop(uid)
        self._background.drop(uid)
        self._steps.drop(uid)
        self._open.pop(uid, None)
        self._runner.detach(uid)
        # The next record's end will not come: whoever waits for it hears that the view is gone.
        jobs, lane.at_boundary = lane.at_boundary, []
        for job in jobs:
            job()

    def lane(self, uid: str) -> Lane | None:
        """Return the tenant's lane."""
        return self._lanes.get(uid)

    def push(self, lane: Lane, record: Record, way: Way | None = None) -> None:
        """Queue a committed record, with its way so far if that was here. A lane's come in the order of their seq."""
        uid = lane.uid
        if self._lanes.get(uid) is not lane:
            return
        if way is not None:
            lane.ways[record.seq] = way
        scheduler = self._background if lane.background else self._scheduler
        if not record.entries:
            scheduler.push(uid, Arrival(lane, record, 0), 1)
            return
        for position, stored in enumerate(record.entries):
            # Decoded when its turn comes: a queue holds bytes, not objects.
            cost = len(stored.payload.data) // BYTES_PER_TOKEN + 1
            scheduler.push(uid, Arrival(lane, record, position), cost)

    def unit(self, max_tokens: int, *, brief: bool = False) -> bool:
        """Do one unit of work; False when there is none to do now.

        Args:
            max_tokens: it encodes about as many at most.
            brief: do little at a time, so that what comes next waits little.
        """
        stepping = self._steps.due_in() == 0.0
        # Between steps others are taken in: a tenant with many of them does not keep those waiting that have few.
        if (not stepping or self._stepped_last) and self._take_in(max_tokens, stepping=stepping, brief=brief):
            self._stepped_last = False
            return True
        if stepping:
            self._stepped_last = True
            self._steps.unit(brief=brief)
        return stepping

    def _take_in(self, max_tokens: int, *, stepping: bool, brief: bool) -> bool:
        """Bring entries a phase nearer to their steps; False when there are none that may go on."""
        for _ in range(len(self._lots)):
            lot = self._lots.popleft()
            if lot.batches:
                self._lots.append(lot)
            else:
                self._fed.extend(lot.entries)
        if self._fed and self._feed(stepping=stepping, seconds=BRIEF_S if brief else math.inf):
            return True
        if self._room and self._fill(max_tokens, stepping=stepping, brief=brief):
            return True
        if not self._lots:
            return False
        self._encode(self._lots[0].batches.popleft())
        self._lots.rotate(-1)
        return True

    @property
    def _room(self) -> bool:
        """Whether more may be taken in: what is there is long, so that others would wait for all of it."""
        return len(self._lots) < LOTS and all(len(lot.batches) > LONG_BATCHES for lot in self._lots)

    # --- the phases -----------------------------------------------------------------------------------------------

    def _fill(self, max_tokens: int, *, stepping: bool, brief: bool) -> bool:
        """Take entries, fairly, tokenise those with a text of their own, and make batches of their passages.

        All that was taken before of their tenants is stepped by now, or waits for company; a change of settings among
        it is finished. Returns whether there were any.
        """
        if self._later and (stepping or self._lots):
            return False
        passing_over = {arrival.lane.uid for lot in self._lots for arrival in lot.entries}
        if stepping:
            passing_over |= self._steps.uids
        if not (taken := self._later or self._take(passing_over, brief=brief)):
            return False
        entries = self._take_up(taken)
        dim = self._runner.encoder.dim
        texts = [(arrival, text) for arrival in entries if (text := arrival.text(dim)) is not None]
        splits = self._runner.split([text for _, text in texts])
        for (arrival, _), split in zip(texts, splits, strict=True):
            arrival.split_into(split)
        # Its turn comes first: should it be a short one, it has waited for a long one already.
        self._lots.appendleft(Lot(entries, batched(entries, max_tokens)))
        return True

    def _take(self, passing_over: Container[str], *, brief: bool) -> list[Arrival]:
        taken: list[tuple[str, Arrival]] = []
        if self._scheduler.served - self._live_served >= BRIEF_TOKENS / BACKGROUND_SHARE:
            taken = self._background.take(BRIEF_TOKENS, passing_over)
            self._live_served = self._scheduler.served
        taken = taken or self._scheduler.take(BRIEF_TOKENS if brief else WINDOW_TOKENS, passing_over)
        if not taken and not passing_over:
            taken = self._background.take(BRIEF_TOKENS)
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
                if entry.position == 0 and (way := lane.ways.get(entry.record.seq)) is not None:
                    way.taken = self._clock()
                if lane.view.settles(entry.record):
                    settling.add(lane.uid)
                    self.hurry(lane.uid, entry.record.seq)  # so it is finished before the next are taken
        return readable

    def _encode(self, batch: Batch) -> None:
        for (entry, i), encoded in zip(batch.places, self._runner.encode(batch.passages), strict=True):
            entry.encoded[i] = encoded

    def _feed(self, *, stepping: bool, seconds: float) -> bool:
        """Feed entries to their views, in order, for some time; what they fill is stepped next.

        Returns whether any could be fed.
        """
        held: deque[Arrival] = deque()
        waiting, end = len(self._fed), self._clock() + seconds
        halted: set[str] = set()
        while self._fed:
            entry = self._fed.popleft()
            lane = entry.lane
            if self._lanes.get(lane.uid) is not lane:
                continue
            # Whoever waits for a record's end is not to wait for the next one's too.
            if lane.uid in halted or (stepping and lane.at_boundary and lane.uid in self._steps):
                held.append(entry)
                continue
            self._guard(lane, partial(self._feed_one, entry))
            if entry.last and lane.at_boundary:
                halted.add(lane.uid)
            if self._clock() > end:
                break
        self._fed.extendleft(reversed(held))
        return len(self._fed) < waiting

    def _feed_one(self, entry: Arrival) -> None:
        view, uid = entry.lane.view, entry.lane.uid
        actions: list[Action] = []
        under_way = self._open.setdefault(uid, UnderWay())
        if (found := entry.indexed(self._runner.encoder.dim)) is not None:
            indexed, states, unknown = found
            if indexed.content.learn and indexed.taken.repeats is None:
                actions.extend(view.feed(indexed.number, states, indexed.vectors, indexed.tokens, unknown))
                if view.context is not None:
                    under_way.told += self._runner.contexts.entry(view.context, indexed.content.text)
            under_way.entries.append(indexed)
        # Without a text to tell, nobody needs the model.
        if view.context is not None and under_way.told:
            actions.extend(self._runner.contexts.pieces(view.context, under_way.told, rest=entry.last))
        if entry.last:
            actions.append(Finish(entry.record, self._open.pop(uid).entries))
            if (way := entry.lane.ways.get(entry.record.seq)) is not None:
                way.fed = self._clock()
        if actions:
            self._steps.add(entry.lane, actions)

    def _finish(self, lane: Lane, finish: Finish) -> bool:
        """Make a record visible; return whether the tenant can go on."""
        if not self._guard(lane, partial(lane.view.finish, finish.record, finish.entries)):
            return False
        if (way := lane.ways.pop(finish.record.seq, None)) is not None:
            self._count(lane.view, finish, way)
        lane.applied(finish.record)
        return True

    def _count(self, view: View, finish: Finish, way: Way) -> None:
        """Count what became visible for the first time."""
        new = itertools.takewhile(lambda event: event.seq == finish.record.seq, reversed(view.events))
        self.counters.finish(finish.entries, new)
        if finish.entries:
            way.told(self._observer, self._clock(), len(finish.entries))
            if way.count is not None:
                way.count(sum(entry.tokens for entry in finish.entries))

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
                self.counters.failures += 1
                self.detach(lane)
                lane.failed(error)

    def fail_all(self, error: BaseException) -> None:
        """Detach everyone that has work under way, after a failure that is nobody's in particular."""
        arrivals = (*(each for lot in self._lots for each in lot.entries), *self._later, *self._fed)
        under_way = {id(lane): lane for lane in (*(each.lane for each in arrivals), *self._steps.lanes)}
        self._lots.clear()
        self._later.clear()
        self._fed.clear()
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
