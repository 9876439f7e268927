"""What both clients send and return."""

import dataclasses
import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from fake_server import Fail
from google.protobuf.json_format import MessageToDict
from grpc import StatusCode
from memsvc_client import (
    AlreadyExistsError,
    Entry,
    InvalidArgumentError,
    MemoryConfig,
    MemsvcError,
    NotFoundError,
    ScoreParts,
    Span,
    StoredEntry,
    Verification,
)

from memsvc.v1 import memory_pb2, tenants_pb2, types_pb2

NOON = datetime(2024, 5, 6, 12, 0, 0, 123456, tzinfo=UTC)
DAY = timedelta(days=1)


def test_create_tenant_twice_is_an_error_unless_allowed(client, fake):
    client.create_tenant("new")
    with pytest.raises(AlreadyExistsError):
        client.create_tenant("new")
    client.create_tenant("new", exist_ok=True)
    assert set(fake.tenants) == {"ada", "new"}
    ids = [request.request_id for request in fake.asked("CreateTenant")]
    assert len(set(ids)) == 3
    assert all(1 <= len(i) <= 64 for i in ids)


def test_exist_ok_swallows_nothing_else(client, fake):
    fake.fail("CreateTenant", Fail(StatusCode.FAILED_PRECONDITION))
    with pytest.raises(MemsvcError) as raised:
        client.create_tenant("new", exist_ok=True)
    assert raised.value.code is StatusCode.FAILED_PRECONDITION


@pytest.mark.parametrize(
    ("entries", "texts"),
    [
        ("one", ["one"]),
        (Entry("one"), ["one"]),
        (["one", Entry("two")], ["one", "two"]),
        ((Entry("one"), "two"), ["one", "two"]),
        ({"one": 1, "two": 2}.keys(), ["one", "two"]),
    ],
    ids=["str", "entry", "list", "tuple", "iterable"],
)
def test_write_takes_entries_in_any_form(client, fake, entries, texts):
    receipt = client.write("ada", entries)
    assert fake.texts("ada") == texts
    assert list(receipt.ids) == list(fake.tenants["ada"])
    assert receipt.seq == 1
    assert receipt.seqs == (1,) * len(texts)
    assert receipt.skipped == (False,) * len(texts)
    assert receipt.surprise is receipt.gate_share is None


def test_ids_are_assigned_in_order_of_time_and_kept_when_given(client):
    receipts = [client.write("ada", ["a", Entry("b", id="mine/✓"), "c"])]
    receipts += [client.write("ada", ["d"]) for _ in range(20)]
    assert receipts[0].ids[1] == "mine/✓"
    assigned = [receipts[0].ids[0], receipts[0].ids[2], *(r.ids[0] for r in receipts[1:])]
    assert len(set(assigned)) == len(assigned)
    milliseconds = [int(i[:12], 16) for i in assigned]
    assert milliseconds == sorted(milliseconds)
    assert all(len(i) == 32 and i[12] == "7" and i[16] in "89ab" for i in assigned)


def test_a_repeated_write_says_so(client):
    entry = Entry("same", id="same")
    first = client.write("ada", ["other", entry])
    again = client.write("ada", [entry, "new"])
    assert again.skipped == (True, False)
    assert again.seqs == (first.seq, again.seq)


def test_write_applied_returns_surprise_and_gate_share(client, fake):
    receipt = client.write("ada", ["four", "eightsss"], wait="applied")
    assert receipt.surprise == (0.5, 1.0)
    assert receipt.gate_share == (0.5, 0.5)
    assert fake.asked("Write")[0].wait == memory_pb2.WRITE_WAIT_APPLIED
    client.write("ada", "x")
    assert fake.asked("Write")[1].wait == memory_pb2.WRITE_WAIT_DURABLE


def test_an_entry_comes_back_as_it_went(client):
    metadata = {"b": 1, "a": [1.5, None, True, {"ключ": "值"}], "big": 2**70, "emoji": "🗝️", "empty": {}}
    there = NOON.astimezone(timezone(timedelta(hours=5, minutes=30)))
    entry = Entry("文本 نص текст é 🗝️\n\t", "e\u0301/@", "session ✓", "user", there, metadata, False, there + DAY)
    client.write("ada", entry)
    stored = client.get_entry("ada", "e\u0301/@")
    assert isinstance(stored, StoredEntry)
    assert (stored.text, stored.id, stored.session, stored.role) == (entry.text, entry.id, entry.session, entry.role)
    assert stored.time == NOON
    assert stored.time.tzinfo is UTC
    assert list(stored.metadata.items()) == list(metadata.items())
    assert stored.learn is False
    assert stored.expire == NOON + DAY
    assert stored.expire.tzinfo is UTC
    assert stored.seq == 1
    assert stored.commit_time.tzinfo is UTC


def test_absent_fields_come_back_as_none(client, fake):
    client.write("ada", Entry("bare", id="bare"))
    stored = client.get_entry("ada", "bare")
    assert stored.session is stored.role is stored.expire is None
    assert stored.metadata == {}
    assert stored.learn is True
    assert not fake.asked("Write")[0].entries[0].HasField("learn")
    assert not fake.asked("Write")[0].entries[0].HasField("expire_time")
    assert stored.time == stored.commit_time


def test_a_stored_entry_can_be_written_to_another_tenant(client, fake):
    client.create_tenant("eve")
    client.write("ada", Entry("kept", id="k", session="s", role="r", time=NOON, metadata={"n": 1}))
    client.write("eve", list(client.list_entries("ada")))
    mine, theirs = client.get_entry("ada", "k"), client.get_entry("eve", "k")
    assert (mine.text, mine.time, mine.metadata) == (theirs.text, theirs.time, theirs.metadata)
    assert not fake.asked("Write")[1].entries[0].seq


def test_metadata_is_sent_as_compact_json_without_escapes(client, fake):
    client.write("ada", [Entry("a", metadata={"é": "日本", "n": 1}), Entry("b")])
    sent = fake.asked("Write")[0].entries
    assert sent[0].metadata_json == '{"é":"日本","n":1}'
    assert json.loads(sent[1].metadata_json or "{}") == {}


def test_recall_sends_every_argument(client, fake):
    client.recall(
        "ada",
        "where?",
        k=7,
        session="s",
        role="user",
        after=NOON,
        before=NOON + timedelta(days=1),
        metadata={"page": {"$gte": 3}},
        neighbours=2,
        min_seq=0,
        max_tokens=100,
    )
    assert MessageToDict(fake.asked("Recall")[0], preserving_proto_field_name=True) == {
        "tenant": "ada",
        "query": "where?",
        "k": 7,
        "filter": {
            "session": "s",
            "role": "user",
            "after": "2024-05-06T12:00:00.123456Z",
            "before": "2024-05-07T12:00:00.123456Z",
            "metadata_json": '{"page":{"$gte":3}}',
        },
        "min_seq": "0",
        "neighbours": 2,
        "max_tokens": 100,
    }


def test_recall_sends_nothing_that_was_not_said(client, fake):
    client.recall("ada", "where?")
    request = fake.asked("Recall")[0]
    assert MessageToDict(request) == {"tenant": "ada", "query": "where?", "k": 10}
    assert not request.HasField("min_seq")
    assert not request.HasField("filter")


def test_an_empty_session_is_a_condition(client, fake):
    client.recall("ada", "where?", session="")
    assert fake.asked("Recall")[0].filter.HasField("session")


def test_recall_returns_a_sequence_of_hits(client, fake):
    def stored(i):
        return types_pb2.Entry(id=f"e{i}", text=f"text {i}", time={"seconds": i}, commit_time={"seconds": i}, seq=i)

    fake.recall_response = memory_pb2.RecallResponse(
        applied_seq=9,
        context="<memory>",
        hits=[
            memory_pb2.Hit(
                entry=stored(i),
                score=1.5 - i,
                parts={"surprise": 1.0, "cosine": 0.25, "lexical": 0.5, "context": -0.25 - i},
                passage={"start": 1, "end": 4},
                before=[stored(10), stored(11)],
                after=[stored(12)],
                also=["e7", "e8"],
            )
            for i in range(3)
        ],
    )
    recall = client.recall("ada", "where?")
    assert (len(recall), recall.applied_seq, recall.context) == (3, 9, "<memory>")
    assert [hit.id for hit in recall] == ["e0", "e1", "e2"]
    assert [hit.id for hit in recall[1:]] == ["e1", "e2"]
    hit = recall[0]
    assert recall.index(hit) == 0
    assert (hit.text, hit.entry.seq, hit.score) == ("text 0", 0, 1.5)
    assert hit.parts == ScoreParts(surprise=1.0, cosine=0.25, lexical=0.5, context=-0.25)
    assert sum(hit.parts) == hit.score
    assert hit.span == Span(1, 4)
    assert hit.also == ("e7", "e8")
    assert hit.text[slice(*hit.span)] == "ext"
    assert [e.id for e in hit.before] == ["e10", "e11"]
    assert [e.id for e in hit.after] == ["e12"]


def test_list_entries_reads_every_page(client, fake):
    client.write("ada", [Entry(str(i), id=str(i)) for i in range(8)])
    entries = list(client.list_entries("ada", session="s", metadata={"n": 1}))
    assert [entry.id for entry in entries] == [str(i) for i in range(8)]
    requests = fake.asked("ListEntries")
    assert [request.page_token for request in requests] == ["", "3", "6"]
    assert all(request.filter.session == "s" and request.filter.metadata_json == '{"n":1}' for request in requests)


def test_list_entries_reads_no_page_that_is_not_needed(client, fake):
    client.write("ada", [Entry(str(i), id=str(i)) for i in range(8)])
    pages = client.list_entries("ada")
    assert next(pages).id == "0"
    assert len(fake.asked("ListEntries")) == 1


def test_list_entries_checks_its_arguments_at_once(client):
    with pytest.raises(InvalidArgumentError, match="after"):
        client.list_entries("ada", after=datetime(2024, 1, 1))


def test_list_tenants_reads_every_page(client, fake):
    for name in "edcb":
        client.create_tenant(name)
    tenants = list(client.list_tenants())
    assert [tenant.tenant for tenant in tenants] == ["ada", "b", "c", "d", "e"]
    assert tenants[0].uid == "uid-ada"
    assert tenants[0].create_time == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
    unsaid = dict.fromkeys(field.name for field in dataclasses.fields(MemoryConfig))
    assert tenants[0].memory == MemoryConfig(**unsaid | {"layers": 2, "theta": 0.5, "gate": "quantile"})


def test_stats_are_asked_for_alone(client, fake):
    fake.stats = types_pb2.TenantStats(entries=3, weight_norms=[1.0, 2.0], warnings=["w"], surprise_mean=0.5)
    stats = client.stats("ada")
    assert (stats.entries, stats.weight_norms, stats.warnings, stats.surprise_mean) == (3, (1.0, 2.0), ("w",), 0.5)
    assert list(fake.asked("GetTenant")[0].read_mask.paths) == ["stats"]


def test_the_state_hash_is_that_of_the_stats(client, fake):
    fake.stats = types_pb2.TenantStats(state_hash="ab12", restarts=2, restart_tokens_left=300)
    assert client.state_hash("ada") == "ab12"
    stats = client.stats("ada")
    assert (stats.restarts, stats.restart_tokens_left) == (2, 300)


def test_stats_say_what_is_kept(client, fake):
    fake.stats = types_pb2.TenantStats(
        evicted=5,
        snapshots=3,
        snapshot_bytes=2**33,
        restore_pending=True,
        merged=4,
        residency="warm",
        memory_bytes=2**34,
        stored_bytes=2**35,
    )
    stats = client.stats("ada")
    assert (stats.evicted, stats.snapshots, stats.snapshot_bytes) == (5, 3, 2**33)
    assert stats.restore_pending is True
    assert stats.merged == 4
    assert (stats.residency, stats.memory_bytes, stats.stored_bytes) == ("warm", 2**34, 2**35)


@pytest.mark.parametrize(("ids", "useful"), [("12", True), (["1", "12"], False), (("12",), True)])
def test_feedback_says_of_entries_whether_they_were_useful(client, fake, ids, useful):
    client.write("ada", [Entry("one", id="1"), Entry("twelve", id="12")])
    assert client.feedback("ada", ids, useful) == 2
    (request,) = fake.asked("Feedback")
    assert (request.tenant, request.useful) == ("ada", useful)
    assert list(request.ids) == [ids] if isinstance(ids, str) else list(ids)


def test_entries_were_useful_unless_it_is_said_otherwise(client, fake):
    client.write("ada", Entry("one", id="1"))
    client.feedback("ada", "1")
    assert fake.asked("Feedback")[0].useful is True


def test_verify_returns_both_hashes(client, fake):
    fake.verification = tenants_pb2.VerifyTenantResponse(seq=7, state_hash="a", folded_hash="b", equal=False)
    assert client.verify("ada") == Verification(seq=7, state_hash="a", folded_hash="b", equal=False)
    assert fake.asked("VerifyTenant")[0].tenant == "ada"


def test_hot_restart_returns_the_record_of_the_restart(client, fake):
    fake.seq = 6
    assert client.hot_restart("ada") == 7


def test_delete_tenant(client, fake):
    client.delete_tenant("ada")
    assert "ada" not in fake.tenants
    assert fake.asked("DeleteTenant")[0].request_id
    with pytest.raises(NotFoundError):
        client.delete_tenant("ada")


def test_unknown_names_are_not_found(client):
    with pytest.raises(NotFoundError):
        client.write("nobody", "x")
    with pytest.raises(NotFoundError):
        client.get_entry("ada", "nothing")
