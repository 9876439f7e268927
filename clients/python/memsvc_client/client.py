"""The blocking client."""

from __future__ import annotations  # gRPC's classes take type arguments in their stubs only

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, Unpack

import grpc

from memsvc.v1.memory_pb2 import ERASURE_STATE_DONE
from memsvc_client import _files, _generate, _generate_request, _keys, _replies, _requests, _stream, _transfer, _watch
from memsvc_client._access import Access
from memsvc_client._core import ANSWER_S, START_S, Core, Page, PageRequest, open_embedded
from memsvc_client._exchange import Exchange
from memsvc_client._files import Progress
from memsvc_client._peers import Peer, Peers
from memsvc_client._polls import Polls
from memsvc_client._retry import RetryPolicy
from memsvc_client._tls import TLS
from memsvc_client._tracing import Tracer
from memsvc_client._watching import Watching
from memsvc_client.errors import AlreadyExistsError
from memsvc_client.types import (
    Deletion,
    Entry,
    Event,
    ForgetReceipt,
    Imported,
    Item,
    Key,
    Message,
    Moment,
    NewKey,
    Recall,
    Receipt,
    StoredEntry,
    Tenant,
    TenantSettings,
    TenantStats,
    Token,
    Verification,
)

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

    from memsvc_client._embedded import Embedded

_Request = TypeVar("_Request")
_Reply = TypeVar("_Reply")
_PageRequest = TypeVar("_PageRequest", bound=PageRequest)
_Page = TypeVar("_Page", bound=Page)


class MemoryClient:
    """Writes text into tenants' memories and recalls it.

        with MemoryClient("127.0.0.1:50051") as client:
            client.create_tenant("ada", exist_ok=True)
            client.write("ada", [Entry("The key is under the mat.", session="home")])
            for hit in client.recall("ada", "Where is the key?"):
                print(hit.score, hit.text)

    Threads may share a client. Every call may be tried again within its timeout, and none takes effect twice: entries
    get their ids here, and what changes anything else carries a request id; what makes a secret is asked for once.

    Args:
        target: the server's address, or several: a sequence, or between commas. The first that answers is asked, and
            who it says owns a tenant.
        timeout: seconds that a call may take, all its tries together; each call takes its own as `timeout`.
        retry: how to try again.
        api_key: shown to servers with every call, never in a message or a representation. Or what returns it, asked
            anew for every call: it should be quick.
        tls: whether connections are encrypted: True for a server whose certificate the world's authorities know, or a
            `TLS` that says whose certificates count.
        allow_plaintext_key: let the key leave this machine without TLS, for whoever listens on the way to read.
        tracing: whether calls are traced with OpenTelemetry, by the program's provider of tracers or the given one; the
            trace goes on in the server.

    Raises:
        MemsvcError: from every call; the module `memsvc_client.errors` draws the tree.
    """

    def __init__(
        self,
        target: str | Sequence[str],
        *,
        timeout: float = 30.0,
        retry: RetryPolicy | None = None,
        api_key: str | Callable[[], str] | None = None,
        tls: bool | TLS = False,
        allow_plaintext_key: bool = False,
        tracing: TracerProvider | bool = False,
    ) -> None:
        access = Access(api_key, tls, allow_plaintext_key)
        self._core = Core(target, timeout, retry or RetryPolicy(), access)
        self._peers = Peers(access, Tracer(tracing) if tracing else None)
        self._embedded: Embedded | None = None

    @classmethod
    def embedded(
        cls,
        path: str | Path,
        *,
        config: str | Path | None = None,
        timeout: float = 30.0,
        start_timeout: float = START_S,
        retry: RetryPolicy | None = None,
        tracing: TracerProvider | bool = False,
    ) -> Self:
        """Return a client of a server of one's own for a directory: joined, or started if there is none.

        It serves the processes of this user that open the directory, over a unix socket in it, and ends with the last
        of them; close the client, or leave its `with`. Its settings are those of `memsvc serve`, from the environment
        and `config`, and its log is `embedded.log` in the directory.

        Args:
            path: the directory; made when it is not there.
            config: TOML file with the server's settings. A server that runs already keeps its own.
            timeout: seconds that a call may take, all its tries together.
            start_timeout: seconds until the server has to serve.
            retry: how to try calls again.
            tracing: whether calls are traced, as for the class.

        Raises:
            InvalidArgumentError: an argument is wrong; `field` names it.
            FailedPreconditionError: the server is not installed (reason EXTRA_MISSING), cannot start (START_FAILED: the
                message has its log's last lines), or this process was forked from one with such a client (FORKED).
            DeadlineExceededError: it does not serve in time.
        """
        server = open_embedded(path, config, start_timeout)
        client = cls(server.target, timeout=timeout, retry=retry, tracing=tracing)
        client._embedded, server.forked = server, client._peers.leave
        return client

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._core.target!r})"

    def close(self) -> None:
        """Close all connections. Calls under way fail. An embedded server that has no other user ends."""
        self._peers.close()
        if self._embedded is not None:
            self._embedded.close()

    def create_tenant(
        self,
        tenant: str,
        exist_ok: bool = False,
        *,
        preset: str | None = None,
        context_memory: str | None = None,
        timeout: float | None = None,
        **settings: Unpack[TenantSettings],
    ) -> None:
        """Create a tenant.

        Args:
            tenant: its id.
            exist_ok: succeed if there is one of this id, and leave that one as it is.
            preset: a set of defaults: `default`, `long-doc`, `genomics` or `dialogue`.
            context_memory: the model that its text streams into as well, by its name at the server, for answers of a
                titans-mac backbone; none unless it is given, and fixed from then on.
            timeout: seconds, in place of the client's.
            **settings: how its memory learns, the fields of `MemoryConfig`, and what it keeps, those of `Policies`.

        Raises:
            InvalidArgumentError: there is no such setting, or its value is wrong.
            AlreadyExistsError: there is one of this id, unless `exist_ok`.
            FailedPreconditionError: the server has no such model (reason NO_CONTEXT_MODEL).
        """
        request = _requests.create_tenant(tenant, preset, context_memory, settings)
        try:
            self._call(tenant, lambda at: at.tenants.CreateTenant, request, timeout)
        except AlreadyExistsError:
            if not exist_ok:
                raise

    def update_tenant(self, tenant: str, *, timeout: float | None = None, **settings: Unpack[TenantSettings]) -> Tenant:
        """Change how a tenant's memory learns from now on, and what it keeps; return the tenant.

        Args:
            tenant: its id.
            timeout: seconds, in place of the client's.
            **settings: what to change, fields of `MemoryConfig` and `Policies`; the others stay, and `layers` has to.

        Raises:
            InvalidArgumentError: there is no such setting, or its value is wrong, or none is given.
            NotFoundError: no such tenant.
        """
        request = _requests.update_tenant(tenant, settings)
        return _replies.tenant(self._call(tenant, lambda at: at.tenants.UpdateTenant, request, timeout))

    def hot_restart(self, tenant: str, *, timeout: float | None = None) -> int:
        """Restart the memory's learning by hand, as a drift does by itself; return the record of the restart.

        Raises:
            NotFoundError: no such tenant.
        """
        return self._call(tenant, lambda at: at.tenants.HotRestart, _requests.hot_restart(tenant), timeout).seq

    def write(
        self,
        tenant: str,
        entries: Entry | str | Iterable[Entry | str],
        wait: Literal["durable", "applied"] = "durable",
        *,
        timeout: float | None = None,
    ) -> Receipt:
        """Write a batch of at most 1,000 entries and 4 MiB: all of them or none. A str is an entry of that text.

        Args:
            tenant: whose memory.
            entries: the batch.
            wait: until the batch is on disk, or until it is recallable too: surprise and gate share are then known.
            timeout: seconds, in place of the client's.

        Raises:
            InvalidArgumentError: an entry is wrong; nothing is written.
            NotFoundError: no such tenant.
            AlreadyExistsError: an id is known with other content; nothing is written.
        """
        request = _requests.write(tenant, entries, wait)
        return _replies.receipt(
            self._call(tenant, lambda at: at.memory.Write, request, timeout), applied=wait == "applied"
        )

    def write_stream(
        self, tenant: str, entries: Iterable[Item], *, timeout: float | None = None
    ) -> Generator[Receipt, None, None]:
        """Write many batches over one stream; yield a receipt for each batch, in order, as it becomes durable.

        Entries are gathered into batches; a list among them is a batch of its own. They are taken from the iterable as
        receipts are taken from here, a bounded way ahead of them; while the iterable waits, so do receipts: `write`
        suits a trickle better. A stream that breaks is resumed. Closing the generator ends it; what has no receipt then
        may or may not be written.

        Args:
            tenant: whose memory.
            entries: what to write; may be endless.
            timeout: seconds that the server may leave a batch without an answer, in place of the client's.

        Raises:
            InvalidArgumentError: an entry is wrong; batches before it may be written.
            NotFoundError: no such tenant.
            AlreadyExistsError: an id is known with other content; batches before it are written.
        """
        items = [entries] if isinstance(entries, Entry | str) else entries
        exchange = Exchange(tenant)
        return _stream.write_stream(self._peers, self._core.trip(tenant, timeout), exchange, items)

    def recall(  # noqa: PLR0917  its arguments are the contract's
        self,
        tenant: str,
        query: str,
        k: int = 10,
        session: str | None = None,
        role: str | None = None,
        after: datetime | None = None,
        before: datetime | None = None,
        metadata: Mapping[str, Any] | None = None,
        neighbours: int = 0,
        min_seq: int | None = None,
        max_tokens: int | None = None,
        as_of: Moment | None = None,
        *,
        timeout: float | None = None,
    ) -> Recall:
        """Return the entries that a query asks for, best first.

        Args:
            tenant: whose memory.
            query: what to look for.
            k: how many hits at most.
            session: only this session.
            role: only this role.
            after: only entries whose time is at or after this one.
            before: only entries whose time is before this one.
            metadata: only entries whose metadata match, for example `{"lang": "en", "page": {"$gte": 3}}`.
            neighbours: how many entries before and after each hit in its session to return with it.
            min_seq: wait until this record is applied; 0 waits for none, None for all committed when the call arrives.
            max_tokens: also return a context for a prompt, of at most this many tokens.
            as_of: ask the memory as it was then, at a record's seq or a time; not with `min_seq`. What was forgotten
                since is in no past.
            timeout: seconds, in place of the client's.

        Raises:
            InvalidArgumentError: an argument is wrong; `field` names it.
            NotFoundError: no such tenant.
            OutOfRangeError: `min_seq` or `as_of` is beyond the log's head.
            DeadlineExceededError: with `as_of`, the past is not folded in time: up to `metadata["folded_seq"]` so far,
                of `metadata["as_of_seq"]`, and asking again goes on from there.
        """
        entry_filter = _requests.entry_filter(session, role, after, before, metadata)
        request = _requests.recall(tenant, query, k, entry_filter, neighbours, min_seq, max_tokens, as_of)
        return _replies.recall(self._call(tenant, lambda at: at.memory.Recall, request, timeout))

    def get_entry(
        self, tenant: str, id: str, as_of: Moment | None = None, *, timeout: float | None = None
    ) -> StoredEntry:
        """Return one entry; with `as_of`, the revision that it had at that record or time.

        Raises:
            NotFoundError: no such tenant or entry.
        """
        request = _requests.get_entry(tenant, id, as_of)
        return _replies.entry(self._call(tenant, lambda at: at.memory.GetEntry, request, timeout))

    def generate(  # noqa: PLR0917
        self,
        tenant: str,
        prompt: str | Sequence[Message | tuple[str, str]],
        max_tokens: int = 256,
        temperature: float = 0.0,
        stop: str | Iterable[str] = (),
        seed: int | None = None,
        remember: bool = False,
        *,
        top_p: float = 1.0,
        session: str | None = None,
        k: int = 10,
        max_context_tokens: int | None = None,
        query: str | None = None,
        min_seq: int | None = None,
        from_session: str | None = None,
        role: str | None = None,
        after: datetime | None = None,
        before: datetime | None = None,
        metadata: Mapping[str, Any] | None = None,
        timeout: float | None = None,
    ) -> Generator[Token, None, None]:
        """Answer from a tenant's memory: yields what was recalled, then the answer piece by piece, last its usage.

        A call is tried again until its first event came, and never after: an answer is not to be pieced together.
        Closing the generator ends the call, and with it the model's work.

        Args:
            tenant: whose memory.
            prompt: a question, or a conversation whose last message is the user's: pairs of role and text.
            max_tokens: at most so many are generated.
            temperature: 0 takes the likeliest token every time.
            stop: the answer ends before the first of these.
            seed: the same prompt and seed give the same answer, as far as the model can promise that.
            remember: whether the last message and the answer become entries, once the answer is complete.
            top_p: tokens are drawn from the likeliest that make up so much.
            session: of what is remembered.
            k: at most so many entries are recalled; 0 recalls nothing.
            max_context_tokens: what they may take of the prompt; what suits the model when None.
            query: what to recall; the last message when None.
            min_seq: wait until this record is applied; 0 waits for none, None for all committed when the call arrives.
            role: only entries of this one; the next ones too are the filter of `recall`.
            after: only entries from then on.
            before: only entries before then.
            metadata: only entries with these values.
            from_session: only entries of this session.
            timeout: seconds for the whole answer; ten minutes when None.

        Raises:
            InvalidArgumentError: an argument is wrong, or the prompt too long; `field` names it.
            NotFoundError: no such tenant.
            OutOfRangeError: `min_seq` is beyond the log's head.
            FailedPreconditionError: the server has no language model (reason NO_BACKBONE), or it does not work.
            UnavailableError: the server, or the model's, is gone.
        """
        request = _generate_request.generate(
            tenant,
            prompt,
            max_tokens=max_tokens,
            temperature=temperature,
            top_p=top_p,
            stop=stop,
            seed=seed,
            remember=remember,
            session=session,
            k=k,
            max_context_tokens=max_context_tokens,
            query=query,
            min_seq=min_seq,
            entry_filter=_requests.entry_filter(from_session, role, after, before, metadata),
        )
        trip = self._core.trip(tenant, ANSWER_S if timeout is None else timeout)
        return _generate.generate(self._peers, trip, request)

    def list_entries(  # noqa: PLR0917
        self,
        tenant: str,
        session: str | None = None,
        role: str | None = None,
        after: datetime | None = None,
        before: datetime | None = None,
        metadata: Mapping[str, Any] | None = None,
        as_of: Moment | None = None,
        include_evicted: bool = False,
        *,
        timeout: float | None = None,
    ) -> Iterator[StoredEntry]:
        """Yield the entries that match, in seq order. The filter is that of `recall`; `timeout` is for each page.

        With `as_of`, those that lived at that record or time; with `include_evicted`, those too that left the index
        because there were too many. Not with both.
        """
        entry_filter = _requests.entry_filter(session, role, after, before, metadata)
        request = _requests.list_entries(tenant, entry_filter, as_of, include_evicted)
        pages = self._pages(tenant, lambda at: at.memory.ListEntries, request, self._core.seconds(timeout))
        return (_replies.entry(message) for page in pages for message in page.entries)

    def update_entry(self, tenant: str, entry: Entry, *, timeout: float | None = None) -> int:
        """Replace an entry by a new revision under the same id, and return the record that holds it.

        The memory keeps what it learnt of the old one, which recall no longer returns.

        Raises:
            InvalidArgumentError: the entry is wrong, or has no id.
            NotFoundError: no such tenant or entry.
        """
        return self._call(tenant, lambda at: at.memory.UpdateEntry, _requests.update_entry(tenant, entry), timeout).seq

    def delete_entry(self, tenant: str, id: str, *, timeout: float | None = None) -> Deletion:
        """Hide an entry at once. The memory keeps what it learnt of it: `forget` erases.

        Raises:
            NotFoundError: no such tenant or entry.
        """
        return _replies.deletion(
            self._call(tenant, lambda at: at.memory.DeleteEntry, _requests.delete_entry(tenant, id), timeout)
        )

    def forget(  # noqa: PLR0917
        self,
        tenant: str,
        ids: str | Iterable[str] | None = None,
        session: str | None = None,
        role: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        after: datetime | None = None,
        before: datetime | None = None,
        wait: bool = True,
        *,
        timeout: float | None = None,
    ) -> ForgetReceipt:
        """Erase entries with all their revisions, as if they had never been written.

        They are hidden at once. Then the memory is folded afresh without them, and their text and every copy that held
        it are destroyed. What is erased satisfies all that is given: `ids`, and the filter, which is that of `recall`.

        Args:
            tenant: whose memory.
            ids: these entries, 10,000 at most.
            session: only this session.
            role: only this role.
            metadata: only entries whose metadata match.
            after: only entries whose time is at or after this one.
            before: only entries whose time is before this one.
            wait: until all is done; the receipt then has the hashes. Without, `get_erasure` says how far it is.
            timeout: seconds for all of it, in place of the client's.

        Raises:
            InvalidArgumentError: nothing says what to erase, or an argument is wrong; nothing is erased.
            NotFoundError: no such tenant.
            DeadlineExceededError: it is not done in time. It goes on, as after every error while it is waited for; each
                names it in `metadata["operation"]`.
        """
        polls = Polls(self._core.seconds(timeout))
        request = _requests.forget(tenant, ids, _requests.entry_filter(session, role, after, before, metadata))
        erasure = self._call(tenant, lambda at: at.memory.Forget, request, timeout)
        while wait and erasure.state != ERASURE_STATE_DONE:
            time.sleep(polls.delay(erasure.operation))
            with polls.asking(erasure.operation):
                question = _requests.get_erasure(erasure.operation, tenant)
                erasure = self._call(tenant, lambda at: at.memory.GetErasure, question, polls.remaining)
        return _replies.erasure(erasure)

    def get_erasure(self, operation: str, tenant: str | None = None, *, timeout: float | None = None) -> ForgetReceipt:
        """Return how far an erasure is.

        Args:
            operation: the erasure.
            tenant: whose it is. A credential that does not reach all tenants has to say.
            timeout: seconds, in place of the client's.

        Raises:
            NotFoundError: no such erasure, of this tenant.
        """
        request = _requests.get_erasure(operation, tenant)
        return _replies.erasure(self._call(tenant, lambda at: at.memory.GetErasure, request, timeout))

    def feedback(
        self, tenant: str, ids: str | Iterable[str], useful: bool = True, *, timeout: float | None = None
    ) -> int:
        """Say of entries that they were useful, or not, and return the record that holds it.

        It counts for which entries stay when there are too many.

        Args:
            tenant: whose memory.
            ids: the entries, 1,000 at most.
            useful: whether they were.
            timeout: seconds, in place of the client's.

        Raises:
            InvalidArgumentError: an argument is wrong; `field` names it.
            NotFoundError: no such tenant, or no such entry.
        """
        return self._call(tenant, lambda at: at.memory.Feedback, _requests.feedback(tenant, ids, useful), timeout).seq

    def stats(self, tenant: str, *, live: bool = False, timeout: float | None = None) -> TenantStats:
        """Return a tenant's figures, once all that is committed when the call arrives is applied.

        Args:
            tenant: its id.
            live: as they are now, which waits for nothing; `state_hash` is empty then.
            timeout: seconds, in place of the client's.

        Raises:
            NotFoundError: no such tenant.
        """
        return _replies.stats(
            self._call(tenant, lambda at: at.tenants.GetTenant, _requests.get_stats(tenant, live), timeout).stats
        )

    def head_seq(self, tenant: str, *, timeout: float | None = None) -> int:
        """Return the seq of the last record of a tenant's log, without bringing the tenant into memory.

        Raises:
            NotFoundError: no such tenant.
        """
        return self._call(tenant, lambda at: at.tenants.GetTenant, _requests.get_head(tenant), timeout).stats.head_seq

    def state_hash(self, tenant: str, *, timeout: float | None = None) -> str:
        """Return the hash of a tenant's state, that of `stats`.

        Raises:
            NotFoundError: no such tenant.
        """
        return self.stats(tenant, timeout=timeout).state_hash

    def verify(self, tenant: str, *, timeout: float | None = None) -> Verification:
        """Fold the tenant's log afresh, beside the live memory, and compare the hashes. It takes as long as the log is.

        Raises:
            NotFoundError: no such tenant.
        """
        return _replies.verification(
            self._call(tenant, lambda at: at.tenants.VerifyTenant, _requests.verify(tenant), timeout)
        )

    def watch(
        self, tenant: str, from_seq: int | None = None, *, timeout: float | None = None
    ) -> Generator[Event, None, None]:
        """Yield what happens to a tenant's memory, without end; first the past events that the server still knows.

        A stream that breaks is resumed, and no event is yielded twice. Closing the generator ends the call.

        Args:
            tenant: whose memory.
            from_seq: only events of records after this one.
            timeout: seconds that the server may be away, as far as the tries of the retry policy go.

        Raises:
            InvalidArgumentError: an argument is wrong; `field` names it.
            NotFoundError: no such tenant.
            UnavailableError: the server stays away.
        """
        return _watch.watch(self._peers, Watching(self._core, tenant, from_seq, timeout))

    def list_tenants(self, *, timeout: float | None = None) -> Iterator[Tenant]:
        """Yield all tenants in the byte order of their ids. `timeout` is for each page."""
        pages = self._pages(
            None, lambda at: at.tenants.ListTenants, _requests.list_tenants(), self._core.seconds(timeout)
        )
        return (_replies.tenant(message) for page in pages for message in page.tenants)

    def delete_tenant(self, tenant: str, *, timeout: float | None = None) -> None:
        """Delete a tenant with its log, memory and index.

        Raises:
            NotFoundError: no such tenant.
        """
        self._call(tenant, lambda at: at.tenants.DeleteTenant, _requests.delete_tenant(tenant), timeout)

    def restore(self, tenant: str, to: Moment, as_tenant: str | None = None, *, timeout: float | None = None) -> Tenant:
        """Bring a tenant's past back, and return the tenant that it is now. It takes as long as the log is.

        In its own place, what it was until now is kept until `confirm_restore` or `undo_restore`, and nothing can be
        forgotten meanwhile. What was forgotten before stays forgotten.

        Args:
            tenant: whose past.
            to: which moment: after the record of that seq, or after the last one at or before that time.
            as_tenant: the id of a new tenant to make of it; the one it is of stays as it is.
            timeout: seconds, in place of the client's.

        Raises:
            InvalidArgumentError: an argument is wrong; `field` names it.
            NotFoundError: no such tenant.
            AlreadyExistsError: there is a tenant `as_tenant`.
            OutOfRangeError: `to` is beyond the log's head.
            FailedPreconditionError: an earlier restore is neither confirmed nor undone.
        """
        return _replies.tenant(
            self._call(tenant, lambda at: at.tenants.RestoreTenant, _requests.restore(tenant, to, as_tenant), timeout)
        )

    def confirm_restore(self, tenant: str, *, timeout: float | None = None) -> None:
        """Destroy what a tenant was before it was restored in its own place.

        Raises:
            NotFoundError: no such tenant.
            FailedPreconditionError: there is no restore to confirm.
        """
        self._call(tenant, lambda at: at.tenants.ConfirmRestore, _requests.confirm_restore(tenant), timeout)

    def undo_restore(self, tenant: str, *, timeout: float | None = None) -> Tenant:
        """Put a restored tenant back to what it was before, and return it. What was written since is destroyed.

        Raises:
            NotFoundError: no such tenant.
            FailedPreconditionError: there is no restore to undo.
        """
        return _replies.tenant(
            self._call(tenant, lambda at: at.tenants.UndoRestore, _requests.undo_restore(tenant), timeout)
        )

    def export_tenant(
        self,
        tenant: str,
        path: str | Path,
        overwrite: bool = False,
        *,
        progress: Progress | None = None,
        timeout: float | None = None,
    ) -> int:
        """Write a tenant to one file, and return its size in bytes.

        The file is there when it is whole, and only its owner may read it; on an error nothing is left. A stream that
        breaks begins anew.

        Args:
            tenant: the tenant.
            path: the file.
            overwrite: replace a file that is there.
            progress: called after each part with the bytes that are there, and about how many there will be.
            timeout: seconds for all of it, in place of the client's.

        Raises:
            NotFoundError: no such tenant.
            FileExistsError: there is a file already, unless `overwrite`.
            OSError: the file cannot be written.
        """
        request = _requests.export_tenant(tenant)
        with _files.NewFile(path, overwrite) as file:
            _transfer.download(self._peers, self._core.trip(tenant, timeout), request, file, progress)
            return file.size

    def import_tenant(
        self,
        path: str | Path,
        as_tenant: str | None = None,
        rebuild: bool = False,
        *,
        progress: Progress | None = None,
        timeout: float | None = None,
    ) -> Imported:
        """Make a tenant of an exported file. It takes as long as the file, and with `rebuild` the log, is.

        A call that breaks begins anew. After an error without an answer (`UnavailableError`, `DeadlineExceededError`)
        the tenant may be there.

        Args:
            path: the file.
            as_tenant: the id of the tenant to make; that of the one exported when it is None.
            rebuild: fold the log afresh instead of adopting the snapshot in the file.
            progress: called after each part with the bytes that are sent, and how many there are.
            timeout: seconds for all of it, in place of the client's.

        Raises:
            InvalidArgumentError: an argument is wrong, or the file is damaged or cut short; nothing is left of it.
            AlreadyExistsError: there is a tenant of that id.
            OSError: the file cannot be read.
        """
        trip = self._core.trip(as_tenant, timeout)
        with _files.Source(path, _requests.import_tenant(as_tenant, rebuild)) as source:
            return _replies.imported(_transfer.upload(self._peers, trip, source, progress))

    def create_key(
        self,
        name: str,
        grants: Mapping[str, str | Iterable[str]],
        expire: datetime | None = None,
        *,
        timeout: float | None = None,
    ) -> NewKey:
        """Make an API key. It is asked for once: after an error without an answer there may be a key that nobody has.

        Args:
            name: what to call it.
            grants: how far it reaches: which of `read`, `write` and `admin` on which tenants, for example
                `{"team/*": ["read", "write"]}`. A pattern is an id, `team/*` for all whose id begins with `team/`, or
                `*` for all.
            expire: when it expires, with a time zone; never when it is None.
            timeout: seconds, in place of the client's.

        Raises:
            InvalidArgumentError: an argument is wrong; `field` names it.
            PermissionDeniedError: the caller's own credential does not have these rights, or not the right to
                administer there.
            FailedPreconditionError: the server asks nobody for a credential.
        """
        request = _keys.create_key(name, grants, expire)
        reply = self._call(None, lambda at: at.auth.CreateKey, request, timeout, once=True)
        return _keys.new_key(reply)

    def list_keys(self, *, timeout: float | None = None) -> Iterator[Key]:
        """Yield the keys that the caller may administer, by their ids; ended ones for 30 days. `timeout` is a page's.

        Raises:
            FailedPreconditionError: the server asks nobody for a credential.
        """
        pages = self._pages(None, lambda at: at.auth.ListKeys, _keys.list_keys(), self._core.seconds(timeout))
        return (_keys.key(message) for page in pages for message in page.keys)

    def rotate_key(self, id: str, overlap: timedelta | float, *, timeout: float | None = None) -> NewKey:
        """Give a key another secret. It is asked for once, as `create_key`.

        Args:
            id: the key's.
            overlap: how long older secrets stay valid, a number being seconds; 0 ends them at once.
            timeout: seconds, in place of the client's.

        Raises:
            NotFoundError: no such key.
            PermissionDeniedError: the caller may not, or, where it does not administer all tenants, no such key.
            FailedPreconditionError: the key is revoked or expired; or the server asks nobody for a credential.
        """
        request = _keys.rotate_key(id, overlap)
        reply = self._call(None, lambda at: at.auth.RotateKey, request, timeout, once=True)
        return _keys.new_key(reply)

    def revoke_key(self, id: str, *, timeout: float | None = None) -> Key:
        """Make a key worthless, in every process within two seconds, and return it.

        Raises:
            NotFoundError: no such key.
            PermissionDeniedError: the caller may not, or, where it does not administer all tenants, no such key.
            FailedPreconditionError: the server asks nobody for a credential.
        """
        return _keys.key(self._call(None, lambda at: at.auth.RevokeKey, _keys.revoke_key(id), timeout))

    def _call(
        self,
        tenant: str | None,
        method: Callable[[Peer], grpc.UnaryUnaryMultiCallable[_Request, _Reply]],
        request: _Request,
        timeout: float | None,
        *,
        once: bool = False,
    ) -> _Reply:
        trip = self._core.trip(tenant, timeout, once=once)
        while True:
            try:
                with self._peers.at(trip.begin()) as peer:
                    return method(peer)(request, timeout=trip.remaining)
            except grpc.RpcError as failure:
                delay = trip.pause(failure)
            time.sleep(delay)

    def _pages(
        self,
        tenant: str | None,
        method: Callable[[Peer], grpc.UnaryUnaryMultiCallable[_PageRequest, _Page]],
        request: _PageRequest,
        timeout: float,
    ) -> Iterator[_Page]:
        more = True
        while more:
            page = self._call(tenant, method, request, timeout)
            yield page
            request.page_token = page.next_page_token
            more = bool(page.next_page_token)
