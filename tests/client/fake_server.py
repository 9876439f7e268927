"""A memsvc server without memory: the protos over dictionaries, with failures on demand."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message
from google.rpc import status_pb2
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo

from memsvc.v1 import (
    auth_pb2,
    auth_pb2_grpc,
    generate_pb2,
    generate_pb2_grpc,
    memory_pb2,
    memory_pb2_grpc,
    tenants_pb2,
    tenants_pb2_grpc,
    types_pb2,
)
from tests.certificates import Pair

COMMIT_SECONDS = 1_700_000_000


@dataclass
class Fail:
    """A call that fails, with details as a server of ours would send them."""

    code: grpc.StatusCode
    message: str = "scripted"
    details: Iterable[Message] = ()
    trailers: tuple[tuple[str, str | bytes], ...] = ()
    late: bool = False
    """Do what was asked, and lose the reply."""

    def abort(self, context: grpc.ServicerContext) -> None:
        trailers = self.trailers
        if self.details:
            status = status_pb2.Status(code=self.code.value[0], message=self.message)
            for detail in self.details:
                packed = AnyMessage()
                packed.Pack(detail)
                status.details.append(packed)
            trailers = (*trailers, ("grpc-status-details-bin", status.SerializeToString()))
        context.set_trailing_metadata(trailers)
        context.abort(self.code, self.message)


class Hang:
    """A call that is never answered."""


def retry_info(seconds: float) -> RetryInfo:
    """Return the detail that names a delay."""
    delay = Duration()
    delay.FromMilliseconds(int(seconds * 1000))
    return RetryInfo(retry_delay=delay)


class _Keys(grpc.ServerInterceptor):
    def __init__(self, keys: list[tuple[str, str | None]]) -> None:
        self._keys = keys

    def intercept_service(self, continuation, handler_call_details):
        metadata = dict(handler_call_details.invocation_metadata)
        self._keys.append((handler_call_details.method.rpartition("/")[2], metadata.get("authorization")))
        return continuation(handler_call_details)


Requests = Iterator[memory_pb2.WriteStreamRequest]
Responses = Iterator[memory_pb2.WriteStreamResponse]
Plan = Callable[[Requests, grpc.ServicerContext], Responses]
Broadcast = Iterable[types_pb2.Event | Fail | threading.Event]


@dataclass
class FakeServer(
    memory_pb2_grpc.MemoryServiceServicer,
    tenants_pb2_grpc.TenantServiceServicer,
    auth_pb2_grpc.AuthServiceServicer,
    generate_pb2_grpc.GenerateServiceServicer,
):
    """What was asked is in `calls`; what shall happen to the next calls is in `script`, by method."""

    page: int = 3
    calls: list[tuple[str, Any]] = field(default_factory=list)
    streams: list[list[memory_pb2.WriteStreamRequest]] = field(default_factory=list)
    script: dict[str, deque[Any]] = field(default_factory=dict)
    plans: deque[Plan] = field(default_factory=deque)
    tenants: dict[str, dict[str, types_pb2.Entry]] = field(default_factory=dict)
    seq: int = 0
    stats: types_pb2.TenantStats = field(default_factory=types_pb2.TenantStats)
    memories: dict[str, types_pb2.MemoryConfig] = field(default_factory=dict)
    policies: dict[str, types_pb2.Policies] = field(default_factory=dict)
    exported: deque[Iterable[bytes | Fail | Hang]] = field(default_factory=deque)
    """What the next exports stream: parts, or a failure that ends it."""
    uploads: list[list[tenants_pb2.ImportTenantRequest]] = field(default_factory=list)
    """The messages of each import."""
    elsewhere: dict[str, str | None] = field(default_factory=dict)
    """Tenants that another process owns, and where that is; None where nobody knows. `*` stands for all others."""
    imports: int = 0
    """Tenants that were made of files."""
    total: int = 0
    """What exports say of how long they are."""
    refuse: Fail | None = None
    """How imports end at once, whatever more is on the way."""
    answered: dict[str, Any] = field(default_factory=dict)
    """Replies by request id: a repeat has no second effect."""
    api_keys: dict[str, auth_pb2.Key] = field(default_factory=dict)
    """API keys, by id."""
    erasures: dict[str, deque[memory_pb2.Erasure]] = field(default_factory=dict)
    """What to tell of each erasure, one question after the other; the last one for good."""
    folds: int = 0
    """Questions until the next erasures are done."""
    copies: tuple[str, ...] = ()
    """What erasures that are done say of copies."""
    files_pending: bool = False
    """What erasures that are done say of the store's files."""
    watches: deque[Broadcast] = field(default_factory=deque)
    """What the next watches are told: events, a failure that ends it, something to wait for. Then they end in peace."""
    answers: deque[Iterable[generate_pb2.GenerateResponse | Fail | threading.Event]] = field(default_factory=deque)
    """What the next answers are made of: events, a failure that ends it, something to wait for."""
    verification: tenants_pb2.VerifyTenantResponse = field(default_factory=tenants_pb2.VerifyTenantResponse)
    recall_response: memory_pb2.RecallResponse = field(default_factory=memory_pb2.RecallResponse)
    keys: list[tuple[str, str | None]] = field(default_factory=list)
    """The methods called, and what each call was authorized with."""
    over: threading.Event = field(default_factory=threading.Event)
    """Set when a stream is over for the server, however it ended."""

    def start(self, tls: Pair | None = None) -> str:
        self._pool = ThreadPoolExecutor(8)
        self._server = grpc.server(self._pool, options=[("grpc.so_reuseport", 0)], interceptors=[_Keys(self.keys)])
        memory_pb2_grpc.add_MemoryServiceServicer_to_server(self, self._server)
        tenants_pb2_grpc.add_TenantServiceServicer_to_server(self, self._server)
        auth_pb2_grpc.add_AuthServiceServicer_to_server(self, self._server)
        generate_pb2_grpc.add_GenerateServiceServicer_to_server(self, self._server)
        if tls is None:
            port = self._server.add_insecure_port("127.0.0.1:0")
        else:
            credentials = grpc.ssl_server_credentials([(tls.key.read_bytes(), tls.cert.read_bytes())])
            port = self._server.add_secure_port("127.0.0.1:0", credentials)
        self._server.start()
        return f"127.0.0.1:{port}"

    def stop(self) -> None:
        self._server.stop(0).wait()
        self._pool.shutdown()

    def fail(self, method: str, *steps: Any) -> None:
        """Script the next calls of a method; None lets one pass."""
        self.script.setdefault(method, deque()).extend(steps)

    def asked(self, method: str) -> list[Any]:
        """Return the requests of a method, in order."""
        return [request for name, request in self.calls if name == method]

    def texts(self, tenant: str) -> list[str]:
        """Return what a tenant holds, in order."""
        return [entry.text for entry in self.tenants[tenant].values()]

    def _answer(self, method: str, request: Any, context: grpc.ServicerContext, do: Callable[[], Any]) -> Any:
        self.calls.append((method, request))
        tenant = getattr(request, "tenant", "")
        self._own(tenant.tenant if isinstance(tenant, types_pb2.Tenant) else tenant, context)
        steps = self.script.get(method)
        step = steps.popleft() if steps else None
        if isinstance(step, Hang):
            self._hang(context)
        if step is not None and not step.late:
            step.abort(context)
        id = getattr(request, "request_id", "")
        reply = self.answered[id] if id in self.answered else do()
        if id:
            self.answered[id] = reply
        if step is not None:
            step.abort(context)
        return reply

    def _own(self, tenant: str, context: grpc.ServicerContext) -> None:
        owner = self.elsewhere.get(tenant, self.elsewhere.get("*", self))
        if owner is not self:
            metadata = {} if owner is None else {"owner": owner}
            info = ErrorInfo(reason="NOT_OWNER", domain="memsvc", metadata=metadata)
            Fail(grpc.StatusCode.UNAVAILABLE, "another process serves the tenant", [info]).abort(context)

    def _tell_end(self, context: grpc.ServicerContext) -> None:
        self.over.clear()
        if not context.add_callback(self.over.set):
            self.over.set()

    def _hang(self, context: grpc.ServicerContext) -> None:
        gone = threading.Event()
        if context.add_callback(gone.set):
            gone.wait(30)
        context.abort(grpc.StatusCode.CANCELLED, "nobody waits")

    def _tenant(self, name: str, context: grpc.ServicerContext) -> dict[str, types_pb2.Entry]:
        if name not in self.tenants:
            Fail(grpc.StatusCode.NOT_FOUND, "no such tenant").abort(context)
        return self.tenants[name]

    def append(self, tenant: str, entries: Iterable[types_pb2.Entry], applied: bool = False) -> Any:
        held = self.tenants[tenant]
        results = []
        self.seq += 1
        for entry in entries:
            skipped = entry.id in held
            if not skipped:
                held[entry.id] = kept = types_pb2.Entry()
                kept.CopyFrom(entry)
                kept.seq = self.seq
                kept.commit_time.seconds = COMMIT_SECONDS + self.seq
                if not kept.HasField("time"):
                    kept.time.CopyFrom(kept.commit_time)
            result = memory_pb2.WriteResult(id=entry.id, seq=held[entry.id].seq, skipped=skipped)
            if applied:
                result.surprise, result.gate_share = len(entry.text) / 8, 0.5
            results.append(result)
        return memory_pb2.WriteResponse(seq=max(r.seq for r in results), results=results)

    def CreateTenant(self, request, context):  # noqa: N802
        def do():
            if request.tenant.tenant in self.tenants:
                Fail(grpc.StatusCode.ALREADY_EXISTS, "there is one").abort(context)
            self.tenants[request.tenant.tenant] = {}
            self.memories[request.tenant.tenant] = request.tenant.memory
            self.policies[request.tenant.tenant] = request.tenant.policies
            return types_pb2.Tenant(tenant=request.tenant.tenant)

        return self._answer("CreateTenant", request, context, do)

    def GetTenant(self, request, context):  # noqa: N802
        def do():
            self._tenant(request.tenant, context)
            return types_pb2.Tenant(tenant=request.tenant, stats=self.stats)

        return self._answer("GetTenant", request, context, do)

    def ListTenants(self, request, context):  # noqa: N802
        def do():
            start = int(request.page_token or 0)
            names = sorted(self.tenants)
            tenants = [
                types_pb2.Tenant(
                    tenant=name,
                    uid=f"uid-{name}",
                    create_time={"seconds": COMMIT_SECONDS},
                    memory=types_pb2.MemoryConfig(layers=2, theta=0.5, gate=types_pb2.GATE_POLICY_QUANTILE),
                )
                for name in names[start : start + self.page]
            ]
            more = start + self.page < len(names)
            return tenants_pb2.ListTenantsResponse(
                tenants=tenants, next_page_token=str(start + self.page) if more else ""
            )

        return self._answer("ListTenants", request, context, do)

    def DeleteTenant(self, request, context):  # noqa: N802
        def do():
            self._tenant(request.tenant, context)
            del self.tenants[request.tenant]
            return Empty()

        return self._answer("DeleteTenant", request, context, do)

    def UpdateTenant(self, request, context):  # noqa: N802
        def do():
            self._tenant(request.tenant.tenant, context)
            memory = self.memories.setdefault(request.tenant.tenant, types_pb2.MemoryConfig(layers=2, theta=0.5))
            policies = self.policies.setdefault(request.tenant.tenant, types_pb2.Policies(max_entries=7))
            held = types_pb2.Tenant(tenant=request.tenant.tenant, uid="uid", memory=memory, policies=policies)
            request.update_mask.MergeMessage(request.tenant, held)
            memory.CopyFrom(held.memory)
            policies.CopyFrom(held.policies)
            return held

        return self._answer("UpdateTenant", request, context, do)

    def HotRestart(self, request, context):  # noqa: N802
        def do():
            self._tenant(request.tenant, context)
            self.seq += 1
            return tenants_pb2.HotRestartResponse(seq=self.seq)

        return self._answer("HotRestart", request, context, do)

    def VerifyTenant(self, request, context):  # noqa: N802
        def do():
            self._tenant(request.tenant, context)
            return self.verification

        return self._answer("VerifyTenant", request, context, do)

    def RestoreTenant(self, request, context):  # noqa: N802
        def do():
            held = self._tenant(request.tenant, context)
            self.seq += 1
            if request.as_tenant:
                self.tenants[request.as_tenant] = dict(held)
            return types_pb2.Tenant(tenant=request.as_tenant or request.tenant, uid=f"restored-{self.seq}")

        return self._answer("RestoreTenant", request, context, do)

    def ConfirmRestore(self, request, context):  # noqa: N802
        def do():
            self._tenant(request.tenant, context)
            return Empty()

        return self._answer("ConfirmRestore", request, context, do)

    def UndoRestore(self, request, context):  # noqa: N802
        def do():
            self._tenant(request.tenant, context)
            return types_pb2.Tenant(tenant=request.tenant, uid="before")

        return self._answer("UndoRestore", request, context, do)

    def ExportTenant(self, request, context):  # noqa: N802
        self.calls.append(("ExportTenant", request))
        self._own(request.tenant, context)
        self._tenant(request.tenant, context)
        self._tell_end(context)
        total = self.total
        for step in self.exported.popleft() if self.exported else [b"all of it"]:
            if isinstance(step, Fail):
                step.abort(context)
            elif isinstance(step, Hang):
                self._hang(context)
            yield tenants_pb2.ExportTenantResponse(data=step, total_bytes=total)
            total = 0

    def ImportTenant(self, request_iterator, context):  # noqa: N802
        log: list[tenants_pb2.ImportTenantRequest] = []
        self.uploads.append(log)
        self._tell_end(context)
        for request in request_iterator:
            log.append(request)
            self._own(log[0].as_tenant or "exported", context)
            if self.refuse is not None:
                self.refuse.abort(context)
        if self.over.wait(0.02):  # gRPC can tell of the end of the messages before it tells that the call is cancelled
            return tenants_pb2.ImportTenantResponse()

        def do():
            self.imports += 1
            data = b"".join(request.data for request in log)
            tenant = types_pb2.Tenant(tenant=log[0].as_tenant or "exported", uid="new")
            return tenants_pb2.ImportTenantResponse(tenant=tenant, head_seq=len(data), adopted=not log[0].rebuild)

        return self._answer("ImportTenant", log[0], context, do)

    def WatchTenant(self, request, context):  # noqa: N802
        self.calls.append(("WatchTenant", request))
        self._own(request.tenant, context)
        self._tenant(request.tenant, context)
        context.add_callback(self.over.set)
        for step in self.watches.popleft() if self.watches else [threading.Event()]:
            if isinstance(step, Fail):
                step.abort(context)
            elif isinstance(step, threading.Event):
                context.add_callback(step.set)
                step.wait(30)
            elif not request.HasField("from_seq") or step.seq > request.from_seq:
                yield step

    def Generate(self, request, context):  # noqa: N802
        self.calls.append(("Generate", request))
        self._own(request.tenant, context)
        self._tell_end(context)
        for step in self.answers.popleft():
            if isinstance(step, Fail):
                step.abort(context)
            elif isinstance(step, threading.Event):
                context.add_callback(step.set)
                step.wait(30)
            else:
                yield step

    def UpdateEntry(self, request, context):  # noqa: N802
        def do():
            held = self._tenant(request.tenant, context)
            if held.pop(request.entry.id, None) is None:
                Fail(grpc.StatusCode.NOT_FOUND, "no such entry").abort(context)
            return memory_pb2.UpdateEntryResponse(seq=self.append(request.tenant, [request.entry]).seq)

        return self._answer("UpdateEntry", request, context, do)

    def DeleteEntry(self, request, context):  # noqa: N802
        def do():
            gone = self._tenant(request.tenant, context).pop(request.id, None)
            if gone is None:
                Fail(grpc.StatusCode.NOT_FOUND, "no such entry").abort(context)
            self.seq += 1
            return memory_pb2.DeleteEntryResponse(seq=self.seq, text_kept=not gone.HasField("learn"))

        return self._answer("DeleteEntry", request, context, do)

    def Feedback(self, request, context):  # noqa: N802
        def do():
            held = self._tenant(request.tenant, context)
            if any(id not in held for id in request.ids):
                Fail(grpc.StatusCode.NOT_FOUND, "no such entry").abort(context)
            self.seq += 1
            return memory_pb2.FeedbackResponse(seq=self.seq)

        return self._answer("Feedback", request, context, do)

    def Forget(self, request, context):  # noqa: N802
        def do():
            held = self._tenant(request.tenant, context)
            gone = [id for id, entry in held.items() if self._selected(request, entry)]
            size = sum(len(held.pop(id).text) for id in gone)
            self.seq += 1
            running = memory_pb2.Erasure(
                operation=f"erasure-{self.seq}",
                tenant=request.tenant,
                state=memory_pb2.ERASURE_STATE_RUNNING,
                seq=self.seq,
                entries=len(gone),
                total_records=self.folds,
            )
            done = memory_pb2.Erasure(
                state=memory_pb2.ERASURE_STATE_DONE,
                state_hash_before="before",
                state_hash_after="after",
                bytes_destroyed=size,
                folded_records=self.folds,
                copies=self.copies,
                files_pending=self.files_pending,
            )
            told = [memory_pb2.Erasure(folded_records=i) for i in range(self.folds)]
            for erasure in (*told, done):
                merged = memory_pb2.Erasure()
                merged.CopyFrom(running)
                merged.MergeFrom(erasure)
                self.erasures.setdefault(running.operation, deque()).append(merged)
            return self._erasure(running.operation)

        return self._answer("Forget", request, context, do)

    def CreateKey(self, request, context):  # noqa: N802
        def do():
            id = f"{len(self.api_keys):016x}"
            self.api_keys[id] = auth_pb2.Key(id=id, name=request.name, grants=request.grants)
            self.api_keys[id].create_time.FromSeconds(COMMIT_SECONDS)
            if request.HasField("expire_time"):
                self.api_keys[id].expire_time.CopyFrom(request.expire_time)
            return auth_pb2.CreateKeyResponse(key=self.api_keys[id], secret=f"msk_{id}_first")

        return self._answer("CreateKey", request, context, do)

    def ListKeys(self, request, context):  # noqa: N802
        def do():
            ids = sorted(id for id in self.api_keys if id > request.page_token)
            more = len(ids) > self.page
            keys = [self.api_keys[id] for id in ids[: self.page]]
            return auth_pb2.ListKeysResponse(keys=keys, next_page_token=keys[-1].id if more else "")

        return self._answer("ListKeys", request, context, do)

    def RotateKey(self, request, context):  # noqa: N802
        def do():
            self._key(request.id, context).rotate_time.FromSeconds(COMMIT_SECONDS + 1)
            return auth_pb2.RotateKeyResponse(key=self.api_keys[request.id], secret=f"msk_{request.id}_second")

        return self._answer("RotateKey", request, context, do)

    def RevokeKey(self, request, context):  # noqa: N802
        def do():
            self._key(request.id, context).revoke_time.FromSeconds(COMMIT_SECONDS + 2)
            return self.api_keys[request.id]

        return self._answer("RevokeKey", request, context, do)

    def _key(self, id: str, context: grpc.ServicerContext) -> auth_pb2.Key:
        if id not in self.api_keys:
            Fail(grpc.StatusCode.NOT_FOUND, "no such key").abort(context)
        return self.api_keys[id]

    def GetErasure(self, request, context):  # noqa: N802
        def do():
            if request.operation not in self.erasures:
                Fail(grpc.StatusCode.NOT_FOUND, "no such erasure").abort(context)
            return self._erasure(request.operation)

        return self._answer("GetErasure", request, context, do)

    def _selected(self, request: memory_pb2.ForgetRequest, entry: types_pb2.Entry) -> bool:
        sessions = (entry.session,) if not request.filter.HasField("session") else (request.filter.session,)
        return entry.session in sessions and (not request.ids or entry.id in request.ids)

    def _erasure(self, operation: str) -> memory_pb2.Erasure:
        told = self.erasures[operation]
        return told.popleft() if len(told) > 1 else told[0]

    def Write(self, request, context):  # noqa: N802
        def do():
            self._tenant(request.tenant, context)
            return self.append(request.tenant, request.entries, request.wait == memory_pb2.WRITE_WAIT_APPLIED)

        return self._answer("Write", request, context, do)

    def Recall(self, request, context):  # noqa: N802
        return self._answer("Recall", request, context, lambda: self.recall_response)

    def GetEntry(self, request, context):  # noqa: N802
        def do():
            entries = self._tenant(request.tenant, context)
            if request.id not in entries:
                Fail(grpc.StatusCode.NOT_FOUND, "no such entry").abort(context)
            return entries[request.id]

        return self._answer("GetEntry", request, context, do)

    def ListEntries(self, request, context):  # noqa: N802
        def do():
            entries = list(self._tenant(request.tenant, context).values())
            start = int(request.page_token or 0)
            more = start + self.page < len(entries)
            return memory_pb2.ListEntriesResponse(
                entries=entries[start : start + self.page], next_page_token=str(start + self.page) if more else ""
            )

        return self._answer("ListEntries", request, context, do)

    def WriteStream(self, request_iterator, context):  # noqa: N802
        log: list[memory_pb2.WriteStreamRequest] = []
        self.streams.append(log)
        plan = self.plans.popleft() if self.plans else self.stream()

        def requests() -> Requests:
            for request in request_iterator:
                log.append(request)
                yield request

        try:
            yield from plan(requests(), context)
        finally:
            self.over.set()

    def stream(
        self,
        window: int = 1 << 20,
        acks: int | None = None,
        fail: Fail | None = None,
        hold: threading.Event | None = None,
        free: int = 0,
    ) -> Plan:
        """Return a plan that appends batches and acknowledges them.

        Args:
            window: what to offer.
            acks: end the stream after so many, in place of the next.
            fail: how to end it then; without it, as if all were well.
            hold: acknowledge nothing before it is set,
            free: but so many.
        """

        def plan(requests: Requests, context: grpc.ServicerContext) -> Responses:
            opening = next(requests)
            tenant = opening.open.tenant
            self._own(tenant, context)
            self._tenant(tenant, context)
            yield memory_pb2.WriteStreamResponse(window=window, opened=memory_pb2.WriteStreamOpened())
            done = 0
            for request in requests:
                kind = request.WhichOneof("message")
                if kind == "flush":
                    yield memory_pb2.WriteStreamResponse(window=window, flushed={"token": request.flush.token})
                    continue
                if hold is not None and done >= free:
                    hold.wait(30)
                self._own(tenant, context)
                if done == acks and fail is None:
                    return
                if done == acks and fail is not None and not fail.late:
                    fail.abort(context)
                ack = self.append(tenant, request.batch.entries)
                if done == acks and fail is not None:
                    fail.abort(context)
                yield memory_pb2.WriteStreamResponse(committed_seq=ack.seq, window=window, ack=ack)
                done += 1

        return plan
