"""What the package shows to the world."""

import copy
import dataclasses
import inspect
import subprocess
import sys
from datetime import UTC, datetime

import memsvc_client
import pytest
from memsvc_client import (
    AsyncMemoryClient,
    Deletion,
    Entry,
    Event,
    Hit,
    Imported,
    MemoryClient,
    MemoryConfig,
    MemorySettings,
    MemsvcError,
    Policies,
    PolicySettings,
    Recall,
    Receipt,
    ScoreParts,
    Span,
    StoredEntry,
    TenantSettings,
    TenantStats,
    Verification,
    errors,
)

from memsvc.v1 import memory_pb2, tenants_pb2, types_pb2

NOW = datetime(2024, 1, 1, tzinfo=UTC)
SECRET = "the key is under the mat " * 40


def stored(**fields):
    return StoredEntry(**{"text": "t", "id": "i", "time": NOW, "seq": 1, "commit_time": NOW, **fields})


def test_all_is_sorted_and_complete():
    names = memsvc_client.__all__
    assert names == sorted(names, key=lambda name: (not name.isupper(), name))
    public = {
        name for name, value in vars(memsvc_client).items() if not name.startswith("_") and not inspect.ismodule(value)
    }
    assert public == set(names)


SURFACE = {
    "embedded": "path * config=None start_timeout=120.0 retry=None tracing=False",
    "create_tenant": "tenant exist_ok=False * preset=None context_memory=None **settings",
    "update_tenant": "tenant **settings",
    "hot_restart": "tenant",
    "write": "tenant entries wait='durable'",
    "write_stream": "tenant entries",
    "recall": "tenant query k=10 session=None role=None after=None before=None metadata=None neighbours=0"
    " min_seq=None max_tokens=None as_of=None",
    "generate": "tenant prompt max_tokens=256 temperature=0.0 stop=() seed=None remember=False * top_p=1.0 session=None"
    " k=10 max_context_tokens=None query=None min_seq=None from_session=None role=None after=None before=None"
    " metadata=None",
    "get_entry": "tenant id as_of=None",
    "list_entries": "tenant session=None role=None after=None before=None metadata=None as_of=None"
    " include_evicted=False",
    "update_entry": "tenant entry",
    "delete_entry": "tenant id",
    "forget": "tenant ids=None session=None role=None metadata=None after=None before=None wait=True",
    "get_erasure": "operation tenant=None",
    "feedback": "tenant ids useful=True",
    "stats": "tenant * live=False",
    "head_seq": "tenant",
    "state_hash": "tenant",
    "verify": "tenant",
    "watch": "tenant from_seq=None",
    "list_tenants": "",
    "delete_tenant": "tenant",
    "restore": "tenant to as_tenant=None",
    "confirm_restore": "tenant",
    "undo_restore": "tenant",
    "export_tenant": "tenant path overwrite=False * progress=None",
    "import_tenant": "path as_tenant=None rebuild=False * progress=None",
    "create_key": "name grants expire=None",
    "list_keys": "",
    "rotate_key": "id overlap",
    "revoke_key": "id",
    "close": "",
}


@pytest.mark.parametrize("kind", [MemoryClient, AsyncMemoryClient])
def test_the_surface_is_the_contract(kind):
    def shown(method):
        parameters = inspect.signature(method).parameters
        timed = "timeout" in parameters and parameters["timeout"].kind is inspect.Parameter.KEYWORD_ONLY
        assert timed == (method.__name__ != "close")
        rest = [p.replace(annotation=p.empty) for name, p in parameters.items() if name not in {"self", "timeout"}]
        return str(inspect.Signature(rest))[1:-1].replace(",", "")

    methods = {name: getattr(kind, name) for name in vars(kind) if not name.startswith("_")}
    assert {name: shown(method) for name, method in methods.items()} == SURFACE
    fields = ["text", "id", "session", "role", "time", "metadata", "learn", "expire"]
    assert list(inspect.signature(Entry).parameters) == fields


def test_importing_the_client_brings_in_nothing_heavy():
    code = (
        "import sys, memsvc_client\n"
        "heavy = ('torch', 'numpy', 'transformers', 'pydantic', 'rich', 'typer')\n"
        "allowed = ('memsvc.v1', 'memsvc.limits')\n"
        "bad = [m for m in sys.modules if m.split('.')[0] in heavy\n"
        "       or m.startswith('memsvc.') and not m.startswith(allowed)]\n"
        "sys.exit(' '.join(bad) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_the_tree_is_drawn_as_it_is():
    drawn = [line.split()[1] for line in errors.__doc__.splitlines() if line.lstrip().startswith(("├", "└"))]
    kinds = [value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, MemsvcError)]
    assert drawn == [kind.__name__ for kind in kinds if kind is not MemsvcError]
    codes = [kind.default_code for kind in kinds]
    assert len(set(codes)) == len(codes)


def test_an_error_survives_a_copy():
    error = errors.InvalidArgumentError("k: wrong", field="k", metadata={"a": "b"}, retry_after=1.0)
    again = copy.copy(error)
    assert type(again) is type(error)
    assert (str(again), vars(again)) == (str(error), vars(error))


def test_values_cannot_be_changed():
    entry = Entry("x")
    with pytest.raises(dataclasses.FrozenInstanceError):
        entry.text = "y"
    assert {entry, Entry("x")} == {entry}
    assert hash(Entry("x", metadata={"a": 1})) == hash(Entry("x", metadata={"a": 1}))
    assert Entry("x").metadata is not Entry("x").metadata


def test_a_receipt_needs_seq_and_ids_only():
    assert Receipt(3, ("a",)) == Receipt(seq=3, ids=("a",), seqs=(), skipped=(), surprise=None, gate_share=None)


def test_a_repr_shows_the_start_of_a_text_only():
    entry = stored(text=SECRET, metadata={"token": SECRET})
    hit = Hit(entry, 1.0, ScoreParts(1, 0, 0, 0), Span(0, 3), before=(entry,), after=(entry,))
    recall = Recall((hit,), applied_seq=3, context=SECRET)
    for value, limit in ((Entry(SECRET), 200), (entry, 200), (hit, 400), (recall, 100)):
        assert len(repr(value)) < limit
        assert SECRET not in repr(value)
    assert repr(Entry("short", id="i", session="s")) == "Entry(id='i', text='short', session='s')"
    with MemoryClient("127.0.0.1:50051") as client:
        assert repr(client) == "MemoryClient('127.0.0.1:50051')"
    assert repr(AsyncMemoryClient("127.0.0.1:50051")) == "AsyncMemoryClient('127.0.0.1:50051')"


def test_recalls_are_sequences():
    hits = tuple(Hit(stored(id=i), 1.0, ScoreParts(1, 0, 0, 0), Span(0, 1)) for i in "abc")
    recall = Recall(hits, applied_seq=1)
    assert list(recall) == list(hits)
    assert recall[-1].id == "c"
    assert recall[:2] == hits[:2]
    assert hits[1] in recall
    assert bool(recall)
    assert not Recall((), applied_seq=1)


def test_stats_show_every_figure_of_the_service():
    fields = [field.name for field in dataclasses.fields(TenantStats)]
    assert fields == [field.name for field in types_pb2.TenantStats.DESCRIPTOR.fields]


def test_settings_are_those_of_the_service():
    service = [field.name for field in types_pb2.MemoryConfig.DESCRIPTOR.fields]
    shown = [field.name for field in dataclasses.fields(MemoryConfig)]
    assert shown == list(MemorySettings.__annotations__) == [name for name in service if name != "preset"]
    policies = [field.name for field in types_pb2.Policies.DESCRIPTOR.fields]
    assert [field.name for field in dataclasses.fields(Policies)] == list(PolicySettings.__annotations__) == policies
    assert sorted(TenantSettings.__annotations__) == sorted(shown + policies)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (Event, types_pb2.Event),
        (Verification, tenants_pb2.VerifyTenantResponse),
        (Deletion, memory_pb2.DeleteEntryResponse),
        (Imported, tenants_pb2.ImportTenantResponse),
    ],
)
def test_replies_show_every_field_of_the_service(kind, message):
    assert [field.name for field in dataclasses.fields(kind)] == [field.name for field in message.DESCRIPTOR.fields]


@pytest.mark.parametrize("target", ["", None, 50051])
def test_a_client_needs_an_address(target):
    for kind in (MemoryClient, AsyncMemoryClient):
        with pytest.raises(errors.InvalidArgumentError, match=r"127\.0\.0\.1:50051"):
            kind(target)
