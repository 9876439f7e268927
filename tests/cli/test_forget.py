"""`memsvc forget` and `memsvc delete`."""

from datetime import UTC, datetime

import pytest
from memsvc_client import DeadlineExceededError, Entry, NotFoundError, UnavailableError

from memsvc.cli import forget as forget_module


@pytest.fixture
def ada(fake, monkeypatch):
    """A tenant with three entries."""
    monkeypatch.setattr(forget_module, "POLL_S", 0.001)
    fake.create_tenant("ada")
    fake.write("ada", [Entry("one", id="1"), Entry("two", id="2"), Entry("three", id="3", learn=False)])
    fake.asked.clear()
    return fake


def test_forget_erases_what_the_ids_say_and_prints_the_receipt(ada, memsvc):
    ran = memsvc("forget", "ada", "1", "2", "--yes")
    assert ran.code == 0
    assert ada.asked == [("forget", {"tenant": "ada", "ids": ["1", "2"], "wait": False})]
    assert ada.texts("ada") == ["three"]
    lines = {line.split()[0]: line.split()[-1] for line in ran.out.splitlines()}
    assert lines["operation"] == "erasure-1"
    assert lines["bytes"] == "1,234"
    assert "state hash after" in ran.out
    assert "records folded again" in ran.err


def test_forget_asks_for_what_the_filters_say(ada, memsvc):
    options = ["--session", "home", "--role", "user", "--after", "2026-01-01", "--before", "2026-02-01"]
    assert memsvc("forget", "ada", *options, "--metadata", '{"page": 3}', "--json").code == 0
    (asked,) = ada.asked
    assert asked == (
        "forget",
        {
            "tenant": "ada",
            "ids": None,
            "wait": False,
            "session": "home",
            "role": "user",
            "after": datetime(2026, 1, 1, tzinfo=UTC),
            "before": datetime(2026, 2, 1, tzinfo=UTC),
            "metadata": {"page": 3},
        },
    )


def test_an_empty_session_is_a_filter(ada, memsvc):
    memsvc("forget", "ada", "--session", "", "--yes")
    assert ada.asked[0][1]["session"] == ""


def test_forget_asks_first(ada, memsvc):
    ran = memsvc("forget", "ada", "1", "2", "--session", "home", stdin="n\n")
    assert ran.code == 1
    assert "Erase 2 entries by id with session home from tenant ada?" in ran.err
    assert not ada.asked
    assert memsvc("forget", "ada", "--role", "user", stdin="").code == 1
    assert not ada.asked
    assert memsvc("forget", "ada", "1", stdin="y\n").code == 0
    assert len(ada.tenants["ada"]) == 2


def test_json_neither_asks_nor_draws(ada, memsvc):
    ada.folds = 2
    ran = memsvc("forget", "ada", "1", "--json", stdin="")
    assert ran.json == {
        "operation": "erasure-1",
        "done": True,
        "state_hash_before": "before",
        "state_hash_after": "after",
        "entries": 2,
        "bytes_destroyed": 1234,
        "folded_records": 10,
        "total_records": 10,
        "copies": [],
        "files_pending": False,
    }
    assert ran.err == ""


def test_forget_says_which_copies_it_does_not_reach(ada, memsvc):
    assert "not reached" not in memsvc("forget", "ada", "1", "--yes").err
    ada.copies = ("export of 2026-03-01 12:00", "tenant \x1b[2Jeve")
    ran = memsvc("forget", "ada", "2", "--yes")
    assert "not reached: export of 2026-03-01 12:00, made before\n" in ran.err
    assert "not reached: tenant �[2Jeve, made before\n" in ran.err
    assert "copies" not in ran.out
    assert memsvc("forget", "ada", "3", "--json").json["copies"] == list(ada.copies)


def test_forget_says_when_the_files_are_behind(ada, memsvc):
    assert "files" not in memsvc("forget", "ada", "1", "--yes").err
    ada.files_pending = True
    ran = memsvc("forget", "ada", "2", "--yes")
    assert "the store's files may hold some of the text" in ran.err
    assert "pending" not in ran.out
    assert memsvc("forget", "ada", "3", "--json").json["files_pending"] is True


def test_forget_follows_the_erasure_to_its_end(ada, memsvc):
    ada.folds = 3
    ada.fail["get_erasure"] = [None, DeadlineExceededError("busy")]
    ran = memsvc("forget", "ada", "1", "--yes")
    assert ran.code == 0
    questions = [asked for method, asked in ada.asked if method == "get_erasure"]
    assert questions == [{"operation": "erasure-1", "tenant": "ada"}] * 4
    assert "10/10" in ran.err


@pytest.mark.parametrize(
    ("error", "code"), [(UnavailableError("gone", reason="UNREACHABLE"), 3), (NotFoundError("no such erasure"), 1)]
)
def test_an_erasure_that_cannot_be_followed_goes_on(ada, memsvc, error, code):
    ada.folds = 3
    ada.fail["get_erasure"] = [None, error]
    ran = memsvc("forget", "ada", "1", "--yes")
    assert ran.code == code
    assert "the erasure erasure-1 goes on" in ran.err
    assert not ran.out


def test_ctrl_c_leaves_the_erasure_and_says_so(ada, memsvc):
    ada.folds = 3
    ada.fail["get_erasure"] = [KeyboardInterrupt()]
    ran = memsvc("forget", "ada", "1", "--yes")
    assert ran.code != 0
    assert "the erasure erasure-1 goes on" in ran.err


def test_the_question_cannot_drive_the_terminal(ada, memsvc):
    assert "\x1b" not in memsvc("forget", "ada", "\x1b[2J", "--session", "\x9b1m", stdin="n\n").err


def test_delete_says_what_is_kept(ada, memsvc):
    ran = memsvc("delete", "ada", "1")
    assert ran.code == 0
    assert "entry 1 is deleted (record 2)" in ran.out
    assert "memsvc forget" in ran.out
    assert "its text is destroyed" in memsvc("delete", "ada", "3").out
    assert ada.texts("ada") == ["two"]
    assert memsvc("delete", "ada", "2", "--json").json == {"id": "2", "seq": 4, "text_kept": True}


def test_an_entry_that_is_not_there_is_said(ada, memsvc):
    ran = memsvc("delete", "ada", "9")
    assert (ran.code, ran.err) == (1, "error: id: there is no such entry\n")
