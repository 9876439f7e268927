"""Updating, deleting and erasing entries, in both clients."""

import time
from datetime import UTC, datetime, timedelta

import pytest
from fake_server import Fail, Hang
from google.protobuf.json_format import MessageToDict
from grpc import StatusCode
from memsvc_client import DataLossError, DeadlineExceededError, Deletion, Entry, ForgetReceipt, _polls
from memsvc_client._polls import Polls

NOON = datetime(2024, 5, 6, 12, tzinfo=UTC)
FIRST = _polls.FIRST


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(_polls, "FIRST", 0.001)


@pytest.fixture
def held(client, fake):
    """Three entries in two sessions."""
    client.write("ada", [Entry("one", id="1", session="a"), Entry("two!", id="2", session="a"), Entry("three", id="3")])
    return fake


def test_an_update_sends_the_whole_entry_and_returns_its_record(client, held):
    seq = client.update_entry("ada", Entry("uno", id="1", session="b", role="user", metadata={"n": 1}, learn=False))
    assert seq == 2
    entry = client.get_entry("ada", "1")
    assert (entry.text, entry.session, entry.role, entry.metadata, entry.seq) == ("uno", "b", "user", {"n": 1}, 2)
    assert entry.learn is False
    assert MessageToDict(held.asked("UpdateEntry")[0].entry) == {
        "id": "1",
        "text": "uno",
        "session": "b",
        "role": "user",
        "metadataJson": '{"n":1}',
        "learn": False,
    }


def test_a_stored_entry_can_be_changed_and_sent_back(client, held):
    client.update_entry("ada", client.get_entry("ada", "1"))
    assert held.asked("UpdateEntry")[0].entry.text == "one"


def test_a_deletion_says_whether_the_text_is_kept(client, held):
    client.write("ada", Entry("four", id="4", learn=False))
    assert client.delete_entry("ada", "1") == Deletion(seq=3, text_kept=True)
    assert client.delete_entry("ada", "4") == Deletion(seq=4, text_kept=False)
    assert held.texts("ada") == ["two!", "three"]
    assert [(request.tenant, request.id) for request in held.asked("DeleteEntry")] == [("ada", "1"), ("ada", "4")]


def test_forget_sends_every_selector(client, held):
    client.forget("ada", ("1", "é"), "a", "user", {"page": 3}, NOON, NOON + timedelta(days=1))
    request = MessageToDict(held.asked("Forget")[0], preserving_proto_field_name=True)
    assert request.pop("request_id")
    assert request == {
        "tenant": "ada",
        "ids": ["1", "é"],
        "filter": {
            "session": "a",
            "role": "user",
            "after": "2024-05-06T12:00:00Z",
            "before": "2024-05-07T12:00:00Z",
            "metadata_json": '{"page":3}',
        },
    }


def test_forget_sends_nothing_that_was_not_said(client, held):
    client.forget("ada", ids=["1"])
    client.forget("ada", session="")
    client.forget("ada", ids=["2"], metadata={})
    by_id, by_session, by_both = held.asked("Forget")
    assert list(by_id.ids) == ["1"]
    assert not by_id.HasField("filter")
    assert not by_session.ids
    assert by_session.filter.HasField("session")
    assert not by_both.HasField("filter")


def test_a_str_is_one_id(client, held):
    client.forget("ada", "12")
    assert list(held.asked("Forget")[0].ids) == ["12"]


def test_forget_waits_until_all_is_done(client, held):
    held.folds, held.copies = 4, ("export of 2026-03-01", "tenant eve")
    receipt = client.forget("ada", session="a")
    assert receipt == ForgetReceipt(
        operation="erasure-2",
        done=True,
        state_hash_before="before",
        state_hash_after="after",
        entries=2,
        bytes_destroyed=7,
        folded_records=4,
        total_records=4,
        copies=("export of 2026-03-01", "tenant eve"),
    )
    assert [(request.operation, request.tenant) for request in held.asked("GetErasure")] == [("erasure-2", "ada")] * 4
    assert held.texts("ada") == ["three"]


def test_a_receipt_says_when_the_files_are_behind(client, held):
    assert client.forget("ada", "1").files_pending is False
    held.files_pending = True
    assert client.forget("ada", "12").files_pending is True


def test_what_is_done_at_once_is_not_asked_for_again(client, held):
    assert client.forget("ada", "1").done
    assert not held.asked("GetErasure")


def test_forget_need_not_wait(client, held):
    held.folds = 3
    receipt = client.forget("ada", "1", wait=False)
    assert not held.asked("GetErasure")
    assert (receipt.done, receipt.entries, receipt.folded_records, receipt.total_records) == (False, 1, 0, 3)
    assert receipt.state_hash_before is receipt.state_hash_after is None
    told = [client.get_erasure(receipt.operation) for _ in range(4)]
    assert [(again.done, again.folded_records) for again in told] == [(False, 1), (False, 2), (True, 3), (True, 3)]


def test_forget_ends_at_its_timeout_and_names_the_erasure(client, held):
    held.folds = 1000
    # Long enough for a busy machine to answer the first call: an erasure that was never acknowledged has no name.
    with pytest.raises(DeadlineExceededError, match=r"erasure-2 is not done after 3 s; it goes on") as raised:
        client.forget("ada", "1", timeout=3)
    assert raised.value.metadata == {"operation": "erasure-2"}
    assert len(held.asked("Forget")) == 1
    assert 2 <= len(held.asked("GetErasure")) < 20
    assert not client.get_erasure("erasure-2").done


def test_the_client_timeout_bounds_the_wait(connect, held):
    held.folds = 1000
    with pytest.raises(DeadlineExceededError, match="erasure-2"):
        connect(held.target, timeout=3.0).forget("ada", "1")


def test_a_question_without_an_answer_ends_at_the_timeout_too(client, held):
    held.folds = 1000
    held.fail("GetErasure", None, Hang())
    began = time.monotonic()
    with pytest.raises(DeadlineExceededError, match="erasure-2 is not done") as raised:
        client.forget("ada", "1", timeout=3)
    assert raised.value.metadata == {"operation": "erasure-2"}
    assert time.monotonic() - began < 10  # the client's own timeout is 20


def test_an_erasure_that_was_never_acknowledged_has_no_name(client, held):
    held.fail("Forget", Hang())
    with pytest.raises(DeadlineExceededError) as raised:
        client.forget("ada", "1", timeout=0.2)
    assert raised.value.metadata == {}
    assert not held.asked("GetErasure")


def test_the_wait_outlasts_a_server_that_is_away_for_a_while(client, held):
    held.folds = 3
    away = Fail(StatusCode.UNAVAILABLE)
    # Each question has its own tries: with all of them together these would be too many.
    held.fail("GetErasure", away, away, None, away, away, None, away, away)
    assert client.forget("ada", "1").done
    assert len(held.asked("Forget")) == 1


def test_an_error_while_it_waits_says_which_erasure_goes_on(client, held):
    held.folds = 3
    held.fail("GetErasure", None, Fail(StatusCode.DATA_LOSS, "rotten"))
    with pytest.raises(DataLossError, match="rotten") as raised:
        client.forget("ada", "1")
    assert raised.value.metadata == {"operation": "erasure-2"}


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def test_waits_double_up_to_the_longest_and_end_with_the_time(monkeypatch):
    monkeypatch.setattr(_polls, "FIRST", FIRST)
    clock = Clock()
    polls = Polls(10.0, clock)
    for wait in (0.2, 0.4, 0.8, 1.6, 2.0, 2.0, 2.0):
        assert polls.delay("op") == pytest.approx(wait)
        clock.now += wait
    assert polls.delay("op") == pytest.approx(1.0)  # what is left
    clock.now = 110.0
    with pytest.raises(DeadlineExceededError, match="erasure op is not done after 10 s"):
        polls.delay("op")
    assert 0 < polls.remaining < 0.01
