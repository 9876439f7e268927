"""LangGraph's long-term store on a tenant's log: exact by key, searched by recall."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from enum import Enum, auto
from typing import Any

from langgraph.store.base import (
    BaseStore,
    GetOp,
    Item,
    ListNamespacesOp,
    Op,
    PutOp,
    Result,
    SearchItem,
    SearchOp,
    TTLConfig,
)
from memsvc_client import (
    AlreadyExistsError,
    Hit,
    InvalidArgumentError,
    MemoryClient,
    NotFoundError,
    Recall,
    StoredEntry,
)

from memsvc_langchain import _conditions, _items
from memsvc_langchain._calls import Calls, Work
from memsvc_langchain._memory import Memory

MAX_HITS = 1000
"""Of one recall, the server's limit: as far as a search with a query and a filter looks, unless its page is farther."""
GONE = frozenset({"DELETED", "EXPIRED", "FORGOTTEN"})
"""Why there is no entry under an id that was used."""


class _Gone(Enum):
    GONE = auto()


_GONE = _Gone.GONE


class MemsvcStore(BaseStore):
    """Items of JSON under a namespace and a key, for `create_agent(store=…)` and graphs.

        store = MemsvcStore("127.0.0.1:50051", tenant="agents")
        store.put(("users", "ada"), "drink", {"memory": "She takes her tea without milk."})
        store.search(("users",), query="what to serve?")

    A get, a put and a delete are exact and seen at once, by every process. A namespace's prefix matches whole labels.
    Text that is deleted is destroyed, unless it was learnt.

    Args:
        target: the server's address, or several; not with `client`.
        client: a client that its maker closes.
        tenant: whose memory holds the items. Searches never leave it.
        create: whether the tenant is created when it is not there.
        learn: whether the memory's weights learn the values, as they do of other entries.
        fields: paths in the value that are searched, for example `["memory"]`, where a put names none; None is all.
        default_ttl: minutes that an item lives after it was last put, where its put does not say. Reading does not
            prolong it: a read writes nothing.
    """

    supports_ttl = True

    def __init__(
        self,
        target: str | None = None,
        *,
        tenant: str,
        client: MemoryClient | None = None,
        create: bool = True,
        learn: bool = False,
        fields: Sequence[str] | None = None,
        default_ttl: float | None = None,
    ) -> None:
        self._memory = Memory(target, client, create=create)
        self._tenant, self._learn, self._fields = tenant, learn, fields
        self.ttl_config = TTLConfig(refresh_on_read=False, omit_expired=True, default_ttl=default_ttl)

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Return each operation's result. Reads see what was there before; of several puts of one key the last counts.

        Raises:
            MemsvcError: the server refuses one, or cannot be reached; puts before it are made.
        """
        return self._memory.run(self._all(list(ops)))

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """Return what `batch` does."""
        return await self._memory.arun(self._all(list(ops)))

    def _all(self, ops: Sequence[Op]) -> Work[list[Result]]:
        async def work(calls: Calls) -> list[Result]:
            results: list[Result] = []
            puts: dict[tuple[tuple[str, ...], str], PutOp] = {}
            for op in ops:
                results.append(None if isinstance(op, PutOp) else await self._read(calls, op))
                if isinstance(op, PutOp):
                    puts[op.namespace, op.key] = op
            for op in puts.values():
                await (self._delete(calls, op) if op.value is None else self._put(calls, op))
            return results

        return work

    async def _read(self, calls: Calls, op: GetOp | SearchOp | ListNamespacesOp) -> Result:
        match op:
            case GetOp():
                return await self._get(calls, op)
            case SearchOp():
                return await self._search(calls, op)
            case ListNamespacesOp():
                return await self._list_namespaces(calls, op)
        raise ValueError(f"there is no operation {type(op).__name__}")

    async def _get(self, calls: Calls, op: GetOp) -> Item | None:
        _, stored = await self._find(calls, op.namespace, op.key)
        if isinstance(stored, NotFoundError):
            raise stored
        return _items.item(stored) if stored is not None and _items.lives(stored) else None

    async def _find(
        self, calls: Calls, namespace: tuple[str, ...], key: str
    ) -> tuple[str, StoredEntry | NotFoundError | None]:
        """Return the id that an item has, and its entry; or the id that it will have, where it is not there.

        Of one that left the index because there are too many, there is an error in its entry's place.

        An id is never used again once its entry is gone, so an item that comes back has the next of a row of ids. Those
        that are gone come first in it: the first that is not is found in steps that double, and then halve.
        """
        gone, place = -1, 0
        while (stored := await self._look(calls, _items.id(namespace, key, place))) is _GONE:
            gone, place = place, 2 * place + 1
        while place - gone > 1:
            middle = (gone + place) // 2
            if (found := await self._look(calls, _items.id(namespace, key, middle))) is _GONE:
                gone = middle
            else:
                place, stored = middle, found
        return _items.id(namespace, key, place), stored

    async def _look(self, calls: Calls, id: str) -> StoredEntry | NotFoundError | _Gone | None:
        """Return what is under an id: an entry, the error of one that was evicted, None where there never was one."""
        try:
            stored: StoredEntry = await calls.call("get_entry", self._tenant, id)
        except NotFoundError as error:
            if error.reason == "ENTRY_NOT_FOUND":
                return None
            if error.reason in GONE:
                return _GONE
            if error.reason == "EVICTED":
                return error
            raise
        return stored

    async def _put(self, calls: Calls, op: PutOp) -> None:
        entry = _items.entry(op, self._fields, learn=self._learn)
        while True:
            id, stored = await self._find(calls, op.namespace, op.key)
            if isinstance(stored, NotFoundError):
                raise stored
            with suppress(AlreadyExistsError, NotFoundError):  # somebody else put or deleted it meanwhile: look again
                if stored is None:
                    await calls.call("write", self._tenant, replace(entry, id=id))
                else:
                    time = stored.time if _items.lives(stored) else entry.time
                    await calls.call("update_entry", self._tenant, replace(entry, id=id, time=time))
                return

    async def _delete(self, calls: Calls, op: PutOp) -> None:
        id, stored = await self._find(calls, op.namespace, op.key)
        if stored is not None:
            with suppress(NotFoundError):  # somebody else did
                await calls.call("delete_entry", self._tenant, id)

    async def _listed(self, calls: Calls, **conditions: Any) -> list[StoredEntry]:
        return await calls.listed(self._tenant, role=_items.ROLE, **conditions)

    async def _search(self, calls: Calls, op: SearchOp) -> list[SearchItem]:
        if not op.query:
            return (await self._matching(calls, op))[op.offset : op.offset + op.limit]
        end = op.offset + op.limit
        found = [
            _items.found(hit.entry, hit.score)
            for hit in await self._living(calls, op, max(1, end, MAX_HITS if op.filter else 0))
            if _conditions.matches(_items.value(hit.entry), op.filter)
        ]
        page = found[op.offset : end]
        if len(found) < end:  # what no query finds comes last, as in LangGraph's own stores
            rest = await self._matching(calls, op, searched=False)
            page += rest[max(0, op.offset - len(found)) : end - len(found)]
        return page

    async def _living(self, calls: Calls, op: SearchOp, k: int) -> list[Hit]:
        """Return the best k that a query finds and that have not expired, best first."""
        asked = k
        while True:
            hits = await self._best(calls, op, asked)
            living = [hit for hit in hits if _items.lives(hit.entry)]
            if len(hits) < asked or len(living) >= k:
                return living[:k]
            asked += len(hits) - len(living)

    async def _best(
        self,
        calls: Calls,
        op: SearchOp,
        k: int,
        *,
        after: datetime | None = None,
        before: datetime | None = None,
        most: int = MAX_HITS,
    ) -> list[Hit]:
        """Return the best k that a query finds, best first.

        A recall has so many hits at most, and 4 MiB of them: what that does not hold is asked for in two parts, the
        earlier items and the later ones. A score is the same whatever part is asked for.

        Args:
            calls: the server's.
            op: the search.
            k: how many.
            after: only items that were first put then, or later.
            before: only items that were first put before.
            most: hits to ask for at first.

        Raises:
            InvalidArgumentError: more than an answer holds were put in one microsecond.
        """
        metadata = {**_items.under(op.namespace_prefix), "searched": True}
        conditions = {"role": _items.ROLE, "metadata": metadata, "after": after, "before": before}
        asked = min(k, most, MAX_HITS)
        while True:
            try:
                recall: Recall = await calls.call("recall", self._tenant, op.query, k=asked, **conditions)
                break
            except InvalidArgumentError as error:
                if error.field != "k" or asked == 1:
                    raise
                asked //= 2
        if len(recall) < asked or asked == k:
            return list(recall)
        times = sorted({hit.entry.time for hit in recall})
        if len(times) == 1:
            raise InvalidArgumentError(
                "limit: more items of one time are asked for than an answer holds", field="limit"
            )
        middle = times[len(times) // 2]
        earlier = await self._best(calls, op, k, after=after, before=middle, most=2 * asked)
        later = await self._best(calls, op, k, after=middle, before=before, most=2 * asked)
        return sorted([*earlier, *later], key=lambda hit: (-hit.score, hit.entry.seq))[:k]

    async def _matching(self, calls: Calls, op: SearchOp, **conditions: Any) -> list[SearchItem]:
        """Return all items under the prefix that match, a namespace's together, the earliest first."""
        metadata = {**_items.under(op.namespace_prefix), **conditions}
        stored = await self._listed(calls, metadata=metadata or None)
        living = sorted(filter(_items.lives, stored), key=lambda each: each.time)
        places = {namespace: i for i, namespace in enumerate(dict.fromkeys(map(_items.namespace, living)))}
        living.sort(key=lambda each: places[_items.namespace(each)])
        return [_items.found(each, None) for each in living if _conditions.matches(_items.value(each), op.filter)]

    async def _list_namespaces(self, calls: Calls, op: ListNamespacesOp) -> list[tuple[str, ...]]:
        found = {_items.namespace(each) for each in filter(_items.lives, await self._listed(calls))}
        kept = {
            namespace[: op.max_depth]
            for namespace in found
            if all(_conditions.within(namespace, condition) for condition in op.match_conditions or ())
        }
        return sorted(kept)[op.offset : op.offset + op.limit]
