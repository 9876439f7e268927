"""LangGraph's long-term store on a tenant's log: exact by key, searched by recall."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from langchain_core.runnables import run_in_executor
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
from memsvc_client import AlreadyExistsError, Entry, MemoryClient, NotFoundError, StoredEntry

from memsvc_langchain import _conditions, _items
from memsvc_langchain._memory import Memory

MAX_HITS = 1000
"""Of one recall, the server's limit: a search with a query looks no further."""


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
        self._client = self._memory.client
        self._tenant, self._learn, self._fields = tenant, learn, fields
        self.ttl_config = TTLConfig(refresh_on_read=False, omit_expired=True, default_ttl=default_ttl)

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Return each operation's result. Reads see what was there before; of several puts of one key the last counts.

        Raises:
            MemsvcError: the server refuses one, or cannot be reached; puts before it are made.
        """
        results: list[Result] = []
        puts: dict[tuple[tuple[str, ...], str], PutOp] = {}
        for op in ops:
            results.append(None if isinstance(op, PutOp) else self._read(op))
            if isinstance(op, PutOp):
                puts[op.namespace, op.key] = op
        for op in puts.values():
            self._delete(op) if op.value is None else self._put(op)
        return results

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """Return what `batch` does, which runs in a thread."""
        return await run_in_executor(None, self.batch, list(ops))

    def _read(self, op: GetOp | SearchOp | ListNamespacesOp) -> Result:
        match op:
            case GetOp():
                return self._get(op)
            case SearchOp():
                return self._search(op)
            case ListNamespacesOp():
                return self._list_namespaces(op)
        raise ValueError(f"there is no operation {type(op).__name__}")

    def _get(self, op: GetOp) -> Item | None:
        living = self._living(op.namespace, op.key)
        return _items.item(living[-1]) if living else None

    def _living(self, namespace: tuple[str, ...], key: str) -> list[StoredEntry]:
        """Return an item's entries, the one that counts last: more than one only after puts that raced."""
        session = _items.session(namespace, key)
        return [each for each in self._listed(session=session) if _items.lives(each)]

    def _listed(self, **conditions: Any) -> list[StoredEntry]:
        return self._memory.listed(self._tenant, role=_items.ROLE, **conditions)

    def _put(self, op: PutOp) -> None:
        entry = _items.entry(op, self._fields, learn=self._learn)
        try:
            # Who creates the item at the same time is refused, for the id is the same; a dead one is never used again.
            self._memory.call(self._client.write, self._tenant, replace(entry, id=entry.session))
        except AlreadyExistsError:
            self._replace(op, entry)

    def _replace(self, op: PutOp, entry: Entry) -> None:
        living = self._living(op.namespace, op.key)
        for each in living[:-1]:
            self._remove(each)
        if living:
            with suppress(NotFoundError):  # it was deleted meanwhile
                self._client.update_entry(self._tenant, replace(entry, id=living[-1].id, time=living[-1].time))
                return
        self._client.write(self._tenant, entry)

    def _delete(self, op: PutOp) -> None:
        for each in self._living(op.namespace, op.key):
            self._remove(each)

    def _remove(self, entry: StoredEntry) -> None:
        with suppress(NotFoundError):
            self._client.delete_entry(self._tenant, entry.id)

    def _search(self, op: SearchOp) -> list[SearchItem]:
        if not op.query:
            return self._matching(op)[op.offset : op.offset + op.limit]
        end = op.offset + op.limit
        recall = self._memory.call(
            self._client.recall,
            self._tenant,
            op.query,
            k=max(1, MAX_HITS if op.filter else min(end, MAX_HITS)),
            role=_items.ROLE,
            metadata={**_items.under(op.namespace_prefix), "searched": True},
        )
        hits = [
            _items.found(hit.entry, hit.score)
            for hit in recall
            if _items.lives(hit.entry) and _conditions.matches(_items.value(hit.entry), op.filter)
        ][op.offset : end]
        if len(hits) < op.limit:  # what no query finds comes last, as in LangGraph's own stores
            hits += self._matching(op, searched=False)[: op.limit - len(hits)]
        return hits

    def _matching(self, op: SearchOp, **conditions: Any) -> list[SearchItem]:
        """Return all items under the prefix that match, a namespace's together, the earliest first."""
        metadata = {**_items.under(op.namespace_prefix), **conditions}
        living = sorted(filter(_items.lives, self._listed(metadata=metadata or None)), key=lambda each: each.time)
        places = {namespace: i for i, namespace in enumerate(dict.fromkeys(map(_items.namespace, living)))}
        living.sort(key=lambda each: places[_items.namespace(each)])
        return [_items.found(each, None) for each in living if _conditions.matches(_items.value(each), op.filter)]

    def _list_namespaces(self, op: ListNamespacesOp) -> list[tuple[str, ...]]:
        found = {_items.namespace(each) for each in filter(_items.lives, self._listed())}
        kept = {
            namespace[: op.max_depth]
            for namespace in found
            if all(_conditions.within(namespace, condition) for condition in op.match_conditions or ())
        }
        return sorted(kept)[op.offset : op.offset + op.limit]
