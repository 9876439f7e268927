"""The stream into a context memory is a part of the view: a function of the log, whatever happens around it."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from memsvc.backbone.titans_mac import checkpoint
from memsvc.backbone.titans_mac.config import PIECE_CHUNKS
from memsvc.engine.contexts import Contexts
from memsvc.engine.engine import Engine
from memsvc.engine.imported import check_header, check_record
from memsvc.engine.opened import OpenTenant
from memsvc.engine.past import Moment
from memsvc.engine.steps import Steps
from memsvc.errors import FailedPreconditionError, InvalidArgumentError, OutOfRangeError
from memsvc.memory.config import MemoryConfig
from memsvc.store.types import Origin, Record, RecordKind
from memsvc.tenant.archive import Header
from memsvc.tenant.policies import Policies
from memsvc.tenant.record import decode_create, decode_payload, encode_create
from tests.backbone.titans_mac.build import bytes_tokenizer, loaded, save
from tests.backbone.titans_mac.conftest import lively, tiny
from tests.engine.conftest import create, payload, running, state, turns
from tests.engine.test_erasure import erased
from tests.engine.test_files import exported, imported

TURNS = turns(12)
TENANTS = [f"t{i}" for i in range(6)]
SAVING = {"snapshot_min_tokens": 1, "snapshot_idle_s": 1000.0}


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    return save(tmp_path_factory.mktemp("models") / "small.safetensors")


@pytest.fixture(scope="module")
def model(file):
    return loaded(file)


async def create_streaming(engine: Engine, tenant: str = "t", policies: Policies | None = None, name="small") -> None:
    await engine.create_tenant(tenant, MemoryConfig(), f"create-{tenant}", policies, name)


async def stream(engine: Engine, tenant: str = "t") -> bytes:
    """The tenant's stream, packed, once everything committed is applied."""
    async with engine.using(tenant) as opened:
        await opened.wait_applied(opened.head_seq)
        return await engine.thread.call_at_boundary(lambda: opened.key, lambda: packed(opened))


def packed(opened: OpenTenant) -> bytes:
    return opened.attached().context.pack()


async def snapshot(engine: Engine, tenant: str = "t") -> None:
    await state(engine, tenant)
    async with engine.using(tenant) as opened:
        await engine.keeper.snapshot(opened)
        assert opened.snapshot_seq > 0


def through(model, texts) -> bytes:
    """What the model itself makes of texts, each with a line's end."""
    (after,) = model.advance([model.start()], [model.tokens("".join(f"{text}\n" for text in texts))])
    return model.pack(after.stream)


def texts(payloads) -> list[str]:
    return [decode_payload(one).text for one in payloads]


TEXTS = texts(TURNS)


@pytest.mark.parametrize("batch", [1, 5, 12])
async def test_the_stream_is_the_texts_in_the_logs_order_however_they_come(tmp_path, file, model, batch) -> None:
    async with running(tmp_path / "d", context_model=str(file)) as engine:
        await create_streaming(engine)
        assert await stream(engine) == b"", "nothing was told"
        for at in range(0, len(TURNS), batch):
            await engine.write("t", TURNS[at : at + batch])
        assert await stream(engine) == through(model, TEXTS)


async def test_a_fork_is_waited_for_as_far_as_it_is_asked_to_know(tmp_path, file, model) -> None:
    async with running(tmp_path / "d", context_model=str(file)) as engine:

        async def forked(min_seq: int | None = None) -> bytes:
            return model.pack((await engine.reads.context_memory("t", min_seq)).stream)

        await create_streaming(engine)
        first = (await engine.write("t", TURNS[:6], applied=True)).seq
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(engine.thread.ingest, "unit", lambda *_, **__: False)
            await engine.write("t", TURNS[6:])
            assert await forked(0) == await forked(first) == through(model, TEXTS[:6])
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(forked(), 0.1)
        assert await forked() == through(model, TEXTS)
        with pytest.raises(OutOfRangeError):
            await forked(first + 2)


async def test_restarts_and_snapshots_do_not_show(tmp_path, file, model) -> None:
    for i in range(3):
        async with running(tmp_path / "d", context_model=str(file), **SAVING) as engine:
            if i == 0:
                await create_streaming(engine)
            else:
                async with engine.using("t") as opened:
                    assert opened.snapshot_seq == i + 1, "it came from the snapshot of the last end"
            await engine.write("t", TURNS[4 * i : 4 * i + 4])
            assert await stream(engine) == through(model, TEXTS[: 4 * i + 4])
    async with running(tmp_path / "d", context_model=str(file)) as engine:
        restored = await state(engine)
        verified = await engine.changes.verify("t")
        assert verified.state_hash == verified.folded_hash == restored


async def test_the_state_hash_is_over_the_stream_and_its_model(tmp_path, file) -> None:
    async with running(tmp_path / "d", context_model=str(file)) as engine:
        await create(engine, "without")
        await create_streaming(engine)
        hashes = {await state(engine), await state(engine, "without")}
        for tenant in ("t", "without"):
            await engine.write(tenant, TURNS)
            hashes.add(await state(engine, tenant))
        model = engine.shelf.find("small")
        async with engine.using("t") as opened:
            (further,) = model.advance([opened.view.context.stream(model)], [[1]])
            await engine.thread.call(lambda: opened.view.context.advanced(further.stream, model))
        assert len(hashes | {await state(engine)}) == 5


async def test_what_the_memory_does_not_learn_from_never_enters(tmp_path, file, model) -> None:
    async with running(tmp_path / "d", context_model=str(file)) as engine:
        await create_streaming(engine, policies=Policies(duplicates="merge"))
        await engine.write("t", [payload("a", "one"), payload("b", "a key", learn=False), payload("c", "One")])
        await engine.write("t", [payload("d", "two")])
        assert await stream(engine) == through(model, ["one", "two"])


@pytest.mark.parametrize("offload", [False, True])
async def test_a_crowd_of_tenants_equals_each_alone(tmp_path, file, model, offload) -> None:
    tenants = {f"t{i}": TURNS[i : 2 * i + 1] for i in range(6)}
    async with running(tmp_path / "d", context_model=str(file), offload=offload) as engine:
        await create(engine, "without")
        await asyncio.gather(*(create_streaming(engine, name) for name in tenants))
        await asyncio.gather(*(engine.write(name, batch) for name, batch in tenants.items()))
        await engine.write("without", TURNS)
        for name, batch in tenants.items():
            assert await stream(engine, name) == through(model, texts(batch))


@pytest.mark.parametrize(("gate", "most"), [(-1000.0, 8), (1000.0, 4)], ids=["nothing is written", "everything is"])
async def test_a_unit_of_work_is_a_few_chunks_and_fewer_where_they_write(tmp_path, monkeypatch, gate, most) -> None:
    network = lively(replace(tiny(), vocabulary=256))
    network.memory.rates.bias.data[3] = gate
    file = tmp_path / "small.safetensors"
    checkpoint.save(file, network, bytes_tokenizer(), {})
    unit, tell, units = Steps.unit, Contexts.tell, list[int]()

    def watched_unit(self, *, brief=False) -> None:
        units.append(0)
        unit(self, brief=brief)

    def watched_tell(self, pieces):
        told = tell(self, pieces)
        units[-1] += sum(each.tokens for each in told) // network.config.chunk
        return told

    monkeypatch.setattr(Steps, "unit", watched_unit)
    monkeypatch.setattr(Contexts, "tell", watched_tell)
    text = "the code of the box is 48213; " * 30
    async with running(tmp_path / "d", context_model=str(file), unload_small_idle_s=1000.0) as engine:
        for tenant in TENANTS:
            await create_streaming(engine, tenant)
        await asyncio.gather(*(engine.write(tenant, [payload("e", text)]) for tenant in TENANTS))
        for tenant in TENANTS:
            assert await stream(engine, tenant) == through(loaded(file), [text])
        counters = engine.thread.ingest.counters
    chunks = len(text) // network.config.chunk
    assert PIECE_CHUNKS <= max(units) <= most
    assert sum(units) == len(TENANTS) * chunks
    assert counters.context_tokens == len(TENANTS) * chunks * network.config.chunk
    assert counters.context_wrote == (counters.context_tokens if gate > 0 else 0)


@pytest.mark.parametrize("at", [0, 1])
async def test_a_tenant_that_forgets_is_one_that_was_never_told(tmp_path, file, model, at) -> None:
    secret = [payload("s0", "the secret is zanzibar and tells of marzipan"), payload("s1", "and of nothing else")]
    async with running(tmp_path / "d", context_model=str(file), **SAVING) as engine:
        for tenant in ("twin", "t"):
            await create_streaming(engine, tenant)
            for i in range(2):
                if tenant == "t" and i == at:
                    await engine.write("t", secret)
                await engine.write(tenant, TURNS[6 * i : 6 * i + 6])
                if tenant == "t":
                    await snapshot(engine)
        assert await state(engine) != await state(engine, "twin")
        forgetting = await engine.changes.forget("t", ["s0", "s1"], None, "f")
        await erased(engine, forgetting.erasure.operation)
        assert await stream(engine) == through(model, TEXTS)
        assert await state(engine) == await state(engine, "twin")
    async with running(tmp_path / "d", context_model=str(file)) as engine:
        assert await stream(engine) == through(model, TEXTS)


async def test_the_past_and_what_is_made_of_it_have_the_stream_of_then(tmp_path, file, model) -> None:
    async with running(tmp_path / "d", context_model=str(file), **SAVING) as engine:
        await create_streaming(engine)
        await engine.write("t", TURNS[:6])
        await snapshot(engine)
        await engine.write("t", TURNS[6:])
        async with engine.using("t") as opened, engine.past.using(opened, 2) as then:
            past = await engine.thread.call(lambda: packed(then))
        assert past == through(model, TEXTS[:6])
        await engine.copies.restore("t", Moment(seq=2), "then", "r1")
        assert await stream(engine, "then") == through(model, TEXTS[:6])
        await engine.copies.restore("t", Moment(seq=2), "", "r2")
        assert await stream(engine) == through(model, TEXTS[:6])
        await engine.copies.undo("t", "r3")
        assert await stream(engine) == through(model, TEXTS)


async def test_a_file_carries_the_stream_to_whoever_has_the_model(tmp_path, file, model) -> None:
    async with running(tmp_path / "a", context_model=str(file), **SAVING) as engine:
        await create_streaming(engine)
        await engine.write("t", TURNS[:6])
        await snapshot(engine)
        await engine.write("t", TURNS[6:])
        hashed, data = await state(engine), await exported(engine)
    async with running(tmp_path / "b", context_model=str(file)) as engine:
        for name, rebuild in (("saved", False), ("folded", True)):
            await imported(engine, data, name, rebuild=rebuild)
            assert await stream(engine, name) == through(model, TEXTS)
            assert await state(engine, name) == hashed
    async with running(tmp_path / "c") as engine:
        with pytest.raises(FailedPreconditionError, match="small@") as failure:
            await imported(engine, data)
        assert failure.value.reason == "NO_CONTEXT_MODEL"
        assert await engine.store.list_tenants("", 10) == []


async def test_a_server_without_the_model_says_which_it_lacks_and_serves_the_others(tmp_path, file) -> None:
    other = save(tmp_path / "models" / "small.safetensors", seed=1)
    async with running(tmp_path / "d", context_model=str(file), **SAVING) as engine:
        await create_streaming(engine)
        await engine.write("t", TURNS)
        await create(engine, "without")
        identity = decode_create((await engine.get_tenant("t")).config, 1).context_memory
        await create_streaming(engine, "exactly", name=identity)
        for unknown in ("nothing", "small@000000000000"):
            with pytest.raises(FailedPreconditionError, match=identity):
                await create_streaming(engine, "u", name=unknown)
    for settings in ({"context_model": str(other)}, {}):
        async with running(tmp_path / "d", **settings) as engine:
            for _ in range(2):
                with pytest.raises(FailedPreconditionError, match=identity) as failure:
                    await state(engine)
                assert failure.value.reason == "NO_CONTEXT_MODEL"
            await engine.write("without", TURNS[:2])
            assert await state(engine, "without")
            await engine.delete_tenant("exactly", "d")
    async with running(tmp_path / "d", context_model=str(file)) as engine:
        assert await state(engine)


async def test_it_counts_in_the_memory_and_leaves_it_with_the_tenant(tmp_path, file, model) -> None:
    async with running(tmp_path / "d", context_model=str(file), **SAVING) as engine:
        await create_streaming(engine)
        runner = engine.thread.runner
        async with engine.using("t") as opened:
            await opened.wait_applied(opened.head_seq)
            before = runner.bytes_of(opened.key)
            assert runner.contexts.to_come(opened.view.context) == model.stream_bytes, "and is reserved before"
        await engine.write("t", TURNS)
        await state(engine)
        async with engine.using("t") as opened:
            assert runner.bytes_of(opened.key) >= before + model.stream_bytes
        assert await engine.keeper.unload(engine.find("t"))
        assert runner.host_bytes < before + model.stream_bytes
        assert await stream(engine) == through(model, TEXTS)


async def test_nothing_is_kept_of_one_where_there_is_none(tmp_path, file) -> None:
    async with running(tmp_path / "d", context_model=str(file), **SAVING) as engine:
        await create(engine)
        await engine.write("t", TURNS)
        await snapshot(engine)
        row = await engine.get_tenant("t")
        saved = (await engine.store.load(row.uid)).snapshot
    assert b"context" not in row.config + saved.meta
    assert not [name for name in saved.blobs if name.startswith("context")]


def test_a_file_of_two_context_memories_or_of_one_without_its_hash_is_refused() -> None:
    def header(model: str) -> Header:
        config = encode_create(MemoryConfig(width=8), "f", None, model)
        return Header(
            tenant="t", origin=Origin(created_us=1, config=config, id_key=b"k" * 16, forgotten=()), head_seq=1
        )

    model, body = f"small@{'0' * 12}", encode_create(MemoryConfig(width=8), "f")
    assert check_header(header(model), 8, 0) == "f"
    with pytest.raises(InvalidArgumentError, match="two context memories"):
        check_record(Record(seq=1, commit_us=1, kind=RecordKind.CREATE, body=body), header(model), 8, 0)
    with pytest.raises(InvalidArgumentError, match="context memory that is none"):
        check_header(header("small"), 8, 0)
