"""The other commands: what they ask for, print, and say when something is wrong."""

import json
import subprocess
import sys
from datetime import UTC, datetime

import pytest
from memsvc_client import Entry, Hit, InvalidArgumentError, MemsvcError, ScoreParts, Span, StoredEntry, UnavailableError
from rich.console import Console

from memsvc.cli.recall import render_hit
from tests.cli.fake_client import NOON

COMMANDS = [
    ("ingest", "ada", "-"),
    ("recall", "ada", "query"),
    ("entries", "ada"),
    ("stats", "ada"),
    ("tenants",),
    ("tenants", "list"),
    ("tenants", "create", "ada"),
    ("tenants", "update", "ada", "--eta", "0.5"),
    ("tenants", "delete", "ada", "--yes"),
    ("delete", "ada", "1"),
    ("forget", "ada", "1", "--yes"),
    ("verify", "ada"),
    ("restart", "ada"),
    ("watch", "ada"),
    ("get", "ada", "1"),
    ("feedback", "ada", "1"),
    ("restore", "ada", "3", "--yes"),
    ("restore", "ada", "--confirm"),
    ("restore", "ada", "--undo"),
    ("export", "ada", "/tmp/memsvc-never-written"),
    ("import", __file__),
]


@pytest.fixture
def ada(fake):
    """A tenant with a conversation."""
    fake.create_tenant("ada")
    fake.write(
        "ada",
        [
            Entry("Where is the key?", id="1", session="home", role="user", metadata={"lang": "en"}),
            Entry("Under the mat.", id="2", session="home", role="assistant", metadata={"heading": "Keys"}),
        ],
    )
    fake.asked.clear()
    return fake


def test_recall_prints_hits_for_people(ada, memsvc):
    ran = memsvc("recall", "ada", "under mat")
    assert ran.code == 0
    assert "Under the mat." in ran.out
    assert "home · Keys" in ran.out
    assert "surprise +0.50  cosine +0.25  lexical +0.75  context +0.00" in ran.out


def test_recall_prints_all_of_it_as_json(ada, memsvc):
    ran = memsvc("recall", "ada", "under mat", "-k", "1", "--max-tokens", "100", "--json")
    assert ran.json["applied_seq"] == 1
    assert ran.json["context"] == "CONTEXT"
    (hit,) = ran.json["hits"]
    assert hit["id"] == hit["entry"]["id"] == "2"
    assert hit["parts"] == {"surprise": 0.5, "cosine": 0.25, "lexical": 0.75, "context": 0.0}
    assert hit["entry"]["time"] == "2026-03-01T12:00:00+00:00"
    assert hit["entry"]["metadata"] == {"heading": "Keys"}
    assert hit["span"] == {"start": 0, "end": 14}


def test_recall_asks_for_what_the_options_say(ada, memsvc):
    options = ["--session", "home", "--role", "user", "--after", "2026-01-01", "--before", "2026-02-01T00:00:00+02:00"]
    options += ["--metadata", '{"page": {"$gte": 3}}', "--neighbours", "2", "--max-tokens", "9", "--min-seq", "0"]
    options += ["--as-of", "7"]
    assert memsvc("recall", "ada", "query", "-k", "3", *options).code == 0
    assert ada.asked == [
        (
            "recall",
            {
                "tenant": "ada",
                "query": "query",
                "k": 3,
                "session": "home",
                "role": "user",
                "after": datetime(2026, 1, 1, tzinfo=UTC),
                "before": datetime(2026, 1, 31, 22, tzinfo=UTC),
                "metadata": {"page": {"$gte": 3}},
                "neighbours": 2,
                "max_tokens": 9,
                "min_seq": 0,
                "as_of": 7,
            },
        )
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["recall", "ada"], "Missing argument"),
        (["recall", "ada", "q", "-k", "0"], "-k"),
        (["recall", "ada", "q", "--after", "yesterday"], "ISO 8601"),
        (["recall", "ada", "q", "--metadata", "{"], "not JSON"),
        (["recall", "ada", "q", "--metadata", "[1]"], "must be a JSON object"),
        (["recall", "ada", "q", "--neighbours", "11"], "--neighbours"),
        (["entries", "ada", "--limit", "0"], "--limit"),
        (["tenants", "delete", "ada", "--json"], "--yes"),
        (["tenants", "create", "eve", "--gate", "median"], "--gate"),
        (["tenants", "create", "eve", "--theta", "small"], "--theta"),
        (["tenants", "update", "ada"], "say what to change"),
        (["tenants", "update", "ada", "--layers", "3"], "--layers"),
        (["tenants", "update", "ada", "--preset", "default"], "--preset"),
        (["forget", "ada"], "say what to forget"),
        (["forget", "ada", "--yes"], "say what to forget"),
        (["forget", "ada", "--json", "--metadata", "{}"], "say what to forget"),
        (["forget", "ada", "--metadata", "{"], "not JSON"),
        (["delete", "ada"], "Missing argument"),
        (["watch", "ada", "--from-seq", "-1"], "--from-seq"),
        (["recall", "ada", "q", "--as-of", "yesterday"], "neither a record's number nor an ISO 8601 time"),
        (["get", "ada"], "Missing argument"),
        (["get", "ada", "1", "--as-of", "1.5"], "neither a record's number"),
        (["feedback", "ada"], "Missing argument"),
        (["restore", "ada"], "say one of these"),
        (["restore", "ada", "3", "--undo", "--yes"], "say one of these"),
        (["restore", "ada", "--confirm", "--undo"], "say one of these"),
        (["restore", "ada", "--undo", "--as", "eve"], "--as goes with a moment"),
        (["restore", "ada", "soon", "--yes"], "neither a record's number"),
        (["restore", "ada", "3", "--json"], "say --yes"),
        (["export", "ada"], "Missing argument"),
        (["import", "/no/such/file"], "/no/such/file"),
        (["import", "/tmp"], "directory"),
        (["tenants", "create", "eve", "--ttl", "soon"], "is no length of time"),
        (["tenants", "create", "eve", "--ttl", "9999999999w"], "is no length of time"),
        (["tenants", "create", "eve", "--max-entries", "0"], "--max-entries"),
        (["tenants", "create", "eve", "--snapshots", "some"], "--snapshots"),
        (["tenants", "--target", "elsewhere:1", "delete", "ada", "--yes"], "after the command"),
        (["ingest", "ada"], "Missing argument"),
        (["nonsense"], "No such command"),
    ],
)
def test_bad_arguments_are_named_and_ask_the_server_nothing(ada, memsvc, arguments, said):
    ran = memsvc(*arguments)
    assert ran.code == 2
    assert said in ran.err
    assert not ada.asked


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_when_no_server_answers_it_is_said_how_to_start_one(memsvc, command):
    # Port 9 (discard) of the loopback device: nobody listens there.
    ran = memsvc(*command, "--target", "127.0.0.1:9", stdin="text")
    assert ran.code == 3
    assert "no memsvc server answers at 127.0.0.1:9" in ran.err
    assert "memsvc serve --data DIR" in ran.err
    assert not ran.out


def test_the_target_may_come_from_the_environment(memsvc, monkeypatch):
    monkeypatch.setenv("MEMSVC_TARGET", "127.0.0.1:9")
    assert "127.0.0.1:9" in memsvc("tenants").err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InvalidArgumentError("tenant: must not be empty", field="tenant"), 2),
        (MemsvcError("something else"), 1),
        (UnavailableError("the server is shutting down", reason="DRAINING"), 3),
    ],
)
def test_what_the_server_refuses_is_one_plain_line(ada, memsvc, error, code):
    ada.fail["recall"] = [error]
    ran = memsvc("recall", "ada", "query")
    assert (ran.code, ran.err, ran.out) == (code, f"error: {error}\n", "")


def test_an_unknown_tenant_is_said(fake, memsvc):
    assert memsvc("stats", "nobody").err == "error: tenant: there is none of that id\n"


def test_stored_text_cannot_drive_the_terminal(fake, memsvc):
    fake.create_tenant("eve")
    fake.write("eve", [Entry("\x1b[2Jred [bold]not markup[/bold]\x9b1m", id="\x1b]0;", session="s[red]")])
    for command in (("recall", "eve", "red"), ("entries", "eve")):
        ran = memsvc(*command)
        assert "\x1b" not in ran.out
        assert "\x9b" not in ran.out
        assert "[bold]not markup[/bold]" in ran.out
        assert "s[red]" in ran.out
    assert memsvc("recall", "eve", "red", "--json").json["hits"][0]["entry"]["text"].startswith("\x1b[2J")


def test_tenants_are_made_listed_and_deleted(fake, memsvc):
    assert memsvc("tenants").out == ""
    assert "no tenants yet" in memsvc("tenants").err
    assert memsvc("tenants", "create", "ada").code == 0
    assert memsvc("tenants", "create", "ada").code == 1
    assert memsvc("tenants", "create", "ada", "--exist-ok").code == 0
    assert "ada" in memsvc("tenants", "list").out
    (listed,) = memsvc("tenants", "--json").json["tenants"]
    assert (listed["tenant"], listed["memory"]["layers"]) == ("ada", 2)
    assert memsvc("tenants", "list", "--json").json == {"tenants": [listed]}
    assert memsvc("tenants", "delete", "ada", stdin="n\n").code == 1
    assert "ada" in fake.tenants
    assert memsvc("tenants", "delete", "ada", stdin="y\n").code == 0
    assert not fake.tenants


def test_stats_show_every_figure_and_warn(ada, memsvc):
    ada.warnings = ("6 % of the tokens are unknown to the encoder",)
    ran = memsvc("stats", "ada")
    assert "gate threshold" in ran.out
    assert "6 % of the tokens" in ran.err
    assert memsvc("stats", "ada", "--json").json["entries"] == 2


def test_stats_show_what_is_kept(ada, memsvc):
    ada.figures = {"evicted": 1200, "snapshots": 3, "snapshot_bytes": 2**20, "restore_pending": True}
    shown = [line.split() for line in memsvc("stats", "ada").out.splitlines()]
    kept = [["evicted", "1,200"], ["snapshots", "3"], ["snapshot", "bytes", "1,048,576"]]
    at = shown.index(kept[0])
    assert shown[at : at + 4] == [*kept, ["restore", "pending", "yes"]]
    assert memsvc("stats", "ada", "--json").json["restore_pending"] is True


def test_feedback_says_which_entries_were_useful_or_not(ada, memsvc):
    assert "2 entries were useful (record 2)" in memsvc("feedback", "ada", "1", "2").out
    assert "1 entry was not useful" in memsvc("feedback", "ada", "1", "--not-useful").out
    assert memsvc("feedback", "ada", "2", "--json").json == {"tenant": "ada", "seq": 4}
    told = [(asked["ids"], asked["useful"]) for _, asked in ada.asked]
    assert told == [(["1", "2"], True), (["1"], False), (["2"], True)]
    ran = memsvc("feedback", "ada", "9")
    assert (ran.code, ran.err) == (1, "error: id: there is no such entry\n")


def test_entries_are_listed_up_to_the_limit(ada, memsvc):
    ran = memsvc("entries", "ada", "--limit", "1", "--session", "home", "--json")
    assert [entry["id"] for entry in ran.json["entries"]] == ["1"]
    assert ran.json["more"] is True
    ran = memsvc("entries", "ada")
    assert "Where is the key?" in ran.out
    assert "Under the mat." in ran.out
    assert ran.err == ""


def test_the_version_is_printed(memsvc):
    assert memsvc("--version").out.startswith("memsvc 0.")


def test_the_command_line_starts_without_the_server_and_its_libraries():
    heavy = ["torch", "transformers", "numpy", "pydantic", "memsvc.server", "memsvc.engine"]
    code = f"import sys, json, memsvc.cli.main; print(json.dumps([m for m in {heavy} if m in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []


def test_a_hit_shows_the_lines_that_matched():
    entry = StoredEntry("first line\nsecond line\nthird line\nfourth", id="1", time=NOON, seq=1, commit_time=NOON)
    hit = Hit(entry, 1.0, ScoreParts(1.0, 0.0, 0.0, 0.0), Span(13, 25))
    console = Console(width=80)
    with console.capture() as capture:
        console.print(render_hit(1, hit))
    assert [line.strip() for line in capture.get().splitlines()][-4:] == ["id 1", "second line", "third line", ""]


def test_a_hit_names_the_entries_that_share_its_text():
    entry = StoredEntry("the text", id="1", time=NOON, seq=1, commit_time=NOON)
    shown = []
    for also in ((), ("2", "3"), tuple("23456789")):
        hit = Hit(entry, 1.0, ScoreParts(1.0, 0.0, 0.0, 0.0), Span(0, 8), also=also)
        console = Console(width=80)
        with console.capture() as capture:
            console.print(render_hit(1, hit))
        shown.append([line.strip() for line in capture.get().splitlines() if "also" in line])
    assert shown == [[], ["also 2, 3"], ["also 2, 3, 4, 5, 6 and 3 more"]]
