"""The past on the command line: `recall --as-of`, `entries`, `get`, and `memsvc restore`."""

from datetime import UTC, datetime

import pytest
from memsvc_client import DeadlineExceededError, Entry, FailedPreconditionError

MOMENTS = [
    ("7", 7),
    ("0", 0),
    ("2026-03-01", datetime(2026, 3, 1, tzinfo=UTC)),
    ("2026-03-01T09:30:00+02:00", datetime(2026, 3, 1, 7, 30, tzinfo=UTC)),
]


@pytest.fixture
def ada(fake):
    """A tenant with one entry of many facts, and a bare one."""
    fake.create_tenant("ada")
    metadata = {"page": 3, "heading": "Ключ"}
    later = datetime(2026, 4, 1, tzinfo=UTC)
    first = Entry("Under the\nmat.", id="1", session="home", role="user", metadata=metadata, expire=later)
    fake.write("ada", [first, Entry("two", id="2")])
    fake.asked.clear()
    return fake


@pytest.mark.parametrize(("given", "means"), MOMENTS)
def test_a_moment_is_a_record_or_a_time(ada, memsvc, given, means):
    assert memsvc("recall", "ada", "query", "--as-of", given).code == 0
    assert memsvc("get", "ada", "1", "--as-of", given).code == 0
    assert memsvc("entries", "ada", "--as-of", given).code == 0
    assert memsvc("restore", "ada", given, "--yes").code == 0
    assert [asked.get("as_of", asked.get("to")) for _, asked in ada.asked] == [means] * 4


def test_the_present_is_asked_unless_it_is_said_otherwise(ada, memsvc):
    for command in (("recall", "ada", "query"), ("get", "ada", "1"), ("entries", "ada")):
        memsvc(*command)
    assert [asked["as_of"] for _, asked in ada.asked] == [None] * 3


def test_a_past_that_is_not_folded_in_time_says_how_far_it_is(ada, memsvc):
    metadata = {"folded_seq": "40", "as_of_seq": "90"}
    ada.fail["recall"] = [DeadlineExceededError("not folded yet", metadata=metadata), DeadlineExceededError("late")]
    ran = memsvc("recall", "ada", "query", "--as-of", "90")
    assert ran.code == 1
    assert ran.err == (
        "the past is folded up to record 40 of 90; ask again, and it goes on from there\nerror: not folded yet\n"
    )
    assert memsvc("recall", "ada", "query").err == "error: late\n"


def test_get_shows_all_that_is_known_of_an_entry(ada, memsvc):
    ran = memsvc("get", "ada", "1")
    assert ran.code == 0
    assert ran.out.endswith("\n\nUnder the\nmat.\n")
    facts = {line.split()[0]: line.split(None, 1)[1].strip() for line in ran.out.split("\n\n")[0].splitlines()}
    assert (facts["id"], facts["session"], facts["role"], facts["seq"]) == ("1", "home", "user", "1")
    assert facts["expire"] == "2026-04-01 00:00:00"
    assert facts["metadata"] == '{"page": 3, "heading": "Ключ"}'
    assert "session" not in memsvc("get", "ada", "2").out
    found = memsvc("get", "ada", "1", "--json").json
    assert (found["text"], found["expire"]) == ("Under the\nmat.", "2026-04-01T00:00:00+00:00")


def test_an_entry_that_is_not_there_is_said(ada, memsvc):
    assert memsvc("get", "ada", "9").err == "error: id: there is no such entry\n"


def test_an_entry_cannot_drive_the_terminal(ada, memsvc):
    ada.write("ada", [Entry("\x1b[2J[bold]x[/bold]", id="e", session="\x9b1m", metadata={"a": "\x1b"})])
    shown = memsvc("get", "ada", "e").out
    assert "\x1b" not in shown
    assert "\x9b" not in shown
    assert "[bold]x[/bold]" in shown


def test_evicted_entries_are_listed_when_they_are_asked_for(ada, memsvc):
    memsvc("entries", "ada")
    memsvc("entries", "ada", "--evicted")
    assert [asked["include_evicted"] for _, asked in ada.asked] == [False, True]


def test_restore_in_place_asks_first_and_says_what_comes_next(ada, memsvc):
    ran = memsvc("restore", "ada", "1200", stdin="n\n")
    assert ran.code == 1
    assert "Put tenant ada back to record 1,200?" in ran.err
    assert memsvc("restore", "ada", "3", stdin="").code == 1
    assert not ada.asked
    ran = memsvc("restore", "ada", "2026-03-01", stdin="y\n")
    assert ran.code == 0
    assert "tenant ada is tenant ada as it was at 2026-03-01 00:00:00 UTC" in ran.out
    assert "--confirm" in ran.out
    assert "--undo" in ran.out
    assert ada.asked == [("restore", {"tenant": "ada", "to": datetime(2026, 3, 1, tzinfo=UTC), "as_tenant": None})]


def test_restore_as_another_tenant_needs_no_question(ada, memsvc):
    ran = memsvc("restore", "ada", "3", "--as", "eve", stdin="")
    assert (ran.code, ran.out) == (0, "tenant eve is tenant ada as it was at record 3\n")
    assert ada.asked == [("restore", {"tenant": "ada", "to": 3, "as_tenant": "eve"})]
    assert memsvc("restore", "ada", "3", "--as", "eve", "--json").json["uid"] == "uid-eve"


def test_a_restore_is_confirmed_or_undone(ada, memsvc):
    assert "is destroyed" in memsvc("restore", "ada", "--confirm").out
    assert "tenant ada is what it was before" in memsvc("restore", "ada", "--undo").out
    assert [method for method, _ in ada.asked] == ["confirm_restore", "undo_restore"]
    assert memsvc("restore", "ada", "--confirm", "--json").json == {"confirmed": "ada"}
    assert memsvc("restore", "ada", "--undo", "--json").json["tenant"] == "ada"
    ada.fail["undo_restore"] = [FailedPreconditionError("there is no restore to undo")]
    ran = memsvc("restore", "ada", "--undo")
    assert (ran.code, ran.out, ran.err) == (1, "", "error: there is no restore to undo\n")


def test_restore_waits_as_long_as_it_takes(ada, memsvc):
    memsvc("restore", "ada", "3", "--yes")
    assert ada.options["timeout"] >= 3600
