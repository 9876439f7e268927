"""What the tenants' memories have yet to step, and the records that become visible after it.

A tenant's chunks are stepped in its log's order, and beside whatever of other tenants there is. With offload its
weights are elsewhere until its steps are due: when there are 4,096 tokens of them, when someone waits for a record of
theirs, or after 200 ms; then all of them are stepped, while the weights of those that come next move into slots. None
of this shows in any tenant's state.
"""

import itertools
import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from memsvc.backbone.titans_mac.config import PIECE_CHUNKS
from memsvc.engine.counters import Counters
from memsvc.engine.lane import Lane
from memsvc.engine.runner import Runner, Shape
from memsvc.store.types import Record
from memsvc.tenant.chunk import Chunk, Indexed, Replay, Told

STEP_CHUNKS = 16
"""Chunks in one unit of work: what one comes to, those of context memories at their cost."""
WRITING_COST = STEP_CHUNKS // PIECE_CHUNKS
"""What a chunk of a context memory counts as in which something is written. Nobody knows it before, so that a unit goes
on with these only while there is room for that; where nothing was, a chunk counts one, and the piece it is in another.
"""
BRIEF_S, BRIEF_CHUNKS = 0.005, 1
"""A brief unit begins nothing more after so many seconds, and steps at most so many chunks at once: on a CPU they take
as long as one by one."""
OFFLOAD_TOKENS = 4096
"""What makes steps due, and what a tenant steps at a stretch where its weights have a way to go."""
OFFLOAD_WAIT_S = 0.2


@dataclass(slots=True)
class Finish:
    """A record whose entries are all fed; it becomes visible once the chunks before it are stepped."""

    record: Record
    entries: list[Indexed]


Action = Chunk | Replay | Told | Finish


@dataclass(slots=True)
class _Queue:
    """One tenant's actions."""

    lane: Lane
    since: float
    """When the first of them came."""
    actions: deque[Action] = field(default_factory=deque)
    tokens: int = 0
    due: bool = False
    """Whether they are being worked off."""
    turn: int = 0
    """Tokens stepped since it came to the head of the line."""


class Steps:
    """Steps chunks of many tenants together.

    Args:
        runner: steps them.
        finish: makes a record visible; returns whether its tenant can go on.
        drained: called when a tenant has nothing left here.
        clock: seconds; what waits with offload is measured by it.
        counters: count what is stepped.
        offload: whether weights leave their slots between a tenant's steps, and steps wait for company.
    """

    def __init__(
        self,
        runner: Runner,
        finish: Callable[[Lane, Finish], bool],
        drained: Callable[[Lane], None],
        clock: Callable[[], float],
        counters: Counters,
        *,
        offload: bool,
    ) -> None:
        self._runner, self._finish_record, self._drained, self._clock = runner, finish, drained, clock
        self._counters, self._offload = counters, offload
        self._queues: dict[str, _Queue] = {}

    def __bool__(self) -> bool:
        return bool(self._queues)

    def __contains__(self, uid: object) -> bool:
        return uid in self._queues

    @property
    def uids(self) -> set[str]:
        """Tenants that have something here."""
        return set(self._queues)

    @property
    def lanes(self) -> list[Lane]:
        """Those that have something here."""
        return [queue.lane for queue in self._queues.values()]

    def add(self, lane: Lane, actions: Sequence[Action]) -> None:
        """Queue a tenant's next actions."""
        queue = self._queues.get(lane.uid)
        if queue is None:
            queue = self._queues[lane.uid] = _Queue(lane, self._clock())
        queue.actions.extend(actions)
        queue.tokens += sum(len(action.tokens) for action in actions if isinstance(action, Chunk))

    def drop(self, uid: str) -> None:
        """Forget a tenant's actions."""
        self._queues.pop(uid, None)

    def due_in(self) -> float | None:
        """Return the seconds until there is something to do; None while there is nothing."""
        if not self._queues:
            return None
        now = self._clock()
        return min(self._due_in(queue, now) for queue in self._queues.values())

    def _due_in(self, queue: _Queue, now: float) -> float:
        if not self._offload or queue.due or queue.lane.background or queue.lane.awaited:
            return 0.0
        if queue.tokens >= OFFLOAD_TOKENS or isinstance(queue.actions[0], Finish):
            return 0.0
        return max(0.0, queue.since + OFFLOAD_WAIT_S - now)

    def unit(self, *, brief: bool = False) -> None:
        """Step the head chunk of as many tenants as fit, a few times over; finish what is complete.

        Brief, it does little, so that what comes next waits little.
        """
        now = self._clock()
        end, width = (now + BRIEF_S, BRIEF_CHUNKS) if brief else (math.inf, STEP_CHUNKS)
        if not self._finish(end):
            return
        for queue in self._queues.values():
            queue.due = self._due_in(queue, now) == 0.0
        budget = STEP_CHUNKS
        while due := [uid for uid, queue in self._queues.items() if queue.due]:
            kind = self._kind(due[0])
            tells = isinstance(kind, str)
            if budget < self._worst(due[0]):
                break
            alike = [uid for uid in due if self._kind(uid) == kind]
            budget -= self._tell(alike, budget) if tells else self._step(alike, min(budget, width))
            if not self._finish(end) or self._clock() > end:
                break

    def _kind(self, uid: str) -> Shape | str:
        """Return what heads that are worked off together share: the memory's shape, or the context memory's model."""
        head = self._queues[uid].actions[0]
        return head.context.model if isinstance(head, Told) else self._runner.shape_of(uid)

    def _worst(self, uid: str) -> int:
        """Return the most that what heads a queue may cost."""
        head = self._queues[uid].actions[0]
        return WRITING_COST * head.chunks if isinstance(head, Told) else 1

    def _step(self, alike: Sequence[str], budget: int) -> int:
        """Step the head chunks of some tenants of one shape; return the cost."""
        width = min(self._runner.width, budget)
        uids, ahead = alike[:width], alike[width : self._runner.width]
        heads = [(uid, self._queues[uid].actions.popleft()) for uid in uids]
        steps = [(uid, self._chunk(uid, head)) for uid, head in heads if isinstance(head, Chunk | Replay)]
        results = self._runner.step([uid for uid, _ in steps], [chunk for _, chunk in steps], ahead)
        for (uid, chunk), result in zip(steps, results, strict=True):
            lane = self._queues[uid].lane
            lane.view.stepped(chunk, result)
            self._counters.step(chunk, result, behind=lane.background)
        self._to_the_end([uid for uid, chunk in steps if self._has_had_its_turn(uid, chunk)])
        return len(uids)

    def _has_had_its_turn(self, uid: str, chunk: Chunk) -> bool:
        """Return whether it is another's, after this chunk.

        Chunk by chunk where weights stay where they are; else a pull and a push would come with each chunk as soon as
        more tenants are due than there are slots.
        """
        queue = self._queues[uid]
        queue.turn += len(chunk.tokens)
        more = bool(queue.actions) and isinstance(queue.actions[0], Chunk | Replay)
        if self._offload and self._runner.apart and more and queue.turn < OFFLOAD_TOKENS:
            return False
        queue.turn = 0
        return True

    def _tell(self, alike: Sequence[str], budget: int) -> int:
        """Advance the context memories of some tenants of one model by their heads; return the cost."""
        worst = itertools.accumulate(map(self._worst, alike))
        uids = [uid for uid, cost in zip(alike, worst, strict=True) if cost <= budget]
        heads = [self._queues[uid].actions.popleft() for uid in uids]
        pieces = [head for head in heads if isinstance(head, Told)]
        told = self._runner.contexts.tell(pieces)
        for uid, advanced in zip(uids, told, strict=True):
            self._counters.tell(advanced, behind=self._queues[uid].lane.background)
        self._to_the_end(uids)
        return sum(
            WRITING_COST * piece.chunks if each.wrote else 1 + (piece.chunks if each.tokens else 0)
            for piece, each in zip(pieces, told, strict=True)
        )

    def _to_the_end(self, uids: Sequence[str]) -> None:
        """Move tenants to the end of the line: those of other kinds, or beyond the width, come first now."""
        for uid in uids:
            self._queues[uid] = self._queues.pop(uid)

    def _chunk(self, uid: str, head: Chunk | Replay) -> Chunk:
        return head if isinstance(head, Chunk) else self._queues[uid].lane.view.draw(head)

    def _finish(self, end: float) -> bool:
        """Finish the records whose chunks are all stepped; return whether that was done before the end."""
        for uid, queue in list(self._queues.items()):
            while queue.actions and isinstance(head := queue.actions[0], Finish):
                if self._clock() > end:
                    return False
                queue.actions.popleft()
                if not self._finish_record(queue.lane, head):
                    break
            if not queue.actions and self._queues.pop(uid, None) is not None:
                if self._offload:
                    self._runner.offload(uid)
                self._runner.measure(uid)
                self._drained(queue.lane)
        return True
