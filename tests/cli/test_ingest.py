"""`memsvc ingest`: what is written, and what is not written again."""

from pathlib import Path

import pytest
from memsvc_client import DeadlineExceededError, ResourceExhaustedError, UnavailableError

from memsvc.cli import ingest as ingest_module
from memsvc.limits import MAX_BATCH_ENTRIES

PARAGRAPH = "Words that say something about number {0}, again and again. " * 8


def guide(*parts: object) -> str:
    return "\n\n".join(f"## Part {part}\n\n{PARAGRAPH.format(part)}" for part in parts)


@pytest.fixture
def docs(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "guide.md").write_text(guide(*range(5)))
    (folder / "note.txt").write_text("The key is under the mat.")
    return folder


def test_an_ingest_writes_every_passage_and_counts(fake, memsvc, docs):
    ran = memsvc("ingest", "ada", "docs", "--json")
    assert ran.code == 0
    assert fake.texts("ada") == [*(guide(i).rstrip() for i in range(5)), "The key is under the mat."]
    assert {entry.session for entry in fake.tenants["ada"].values()} == {"docs/guide.md", "docs/note.txt"}
    assert {key: ran.json[key] for key in ("tenant", "documents", "passages", "written", "left_out")} == {
        "tenant": "ada",
        "documents": 2,
        "passages": 6,
        "written": 6,
        "left_out": {},
    }
    assert ran.json["tokens"] == sum(len(text.split()) for text in fake.texts("ada"))
    assert ran.json["bytes"] == sum(len(text.encode()) for text in fake.texts("ada"))


def test_a_repeat_writes_nothing(fake, memsvc, docs):
    memsvc("ingest", "ada", "docs")
    held = dict(fake.tenants["ada"])
    ran = memsvc("ingest", "ada", docs, "--json")
    assert (ran.json["passages"], ran.json["written"], ran.json["bytes"]) == (6, 0, 0)
    assert fake.tenants["ada"] == held


def test_an_edited_document_writes_only_what_is_new(fake, memsvc, docs):
    memsvc("ingest", "ada", "docs")
    held = dict(fake.tenants["ada"])
    (docs / "guide.md").write_text(guide(0, "new", *range(1, 5)))
    ran = memsvc("ingest", "ada", "docs", "--json")
    assert ran.json["written"] == 1
    (fresh,) = [entry for id, entry in fake.tenants["ada"].items() if id not in held]
    assert fresh.text == guide("new").rstrip()
    assert {id: fake.tenants["ada"][id] for id in held} == held


@pytest.mark.parametrize("fate", ["evicted", "deleted", "forgotten"])
def test_a_document_goes_on_past_what_is_kept_from_recall(fake, memsvc, docs, fate):
    memsvc("ingest", "ada", "docs")
    ids = list(fake.tenants["ada"])
    getattr(fake, fate).update(ids[1:3])
    if fate == "forgotten":
        for id in ids[1:3]:
            del fake.tenants["ada"][id]
    (docs / "guide.md").write_text(guide("new", *range(5)))
    (docs / "later.md").write_text("Read after the others.")
    ran = memsvc("ingest", "ada", "docs", "--json")
    assert ran.code == 0, ran.err
    assert (ran.json["passages"], ran.json["written"]) == (8, 2)
    assert ran.json["forgotten"] == (2 if fate == "forgotten" else 0)
    assert {"Read after the others.", guide("new").rstrip()} <= set(fake.texts("ada"))
    said = memsvc("ingest", "ada", "docs").out
    assert ("2 forgotten before and not written" in said) == (fate == "forgotten")


def test_an_empty_path_is_not_the_folder_one_is_in(fake, memsvc, docs):
    ran = memsvc("ingest", "ada", "")
    assert ran.code == 2
    assert "empty" in ran.err
    assert not fake.asked


def test_standard_input_is_a_document(fake, memsvc):
    assert memsvc("ingest", "ada", "-", "--name", "mail/1", stdin="From a pipe: 中文.").code == 0
    (entry,) = fake.tenants["ada"].values()
    assert (entry.text, entry.session) == ("From a pipe: 中文.", "mail/1")


def test_what_is_no_text_is_left_out_and_said(fake, memsvc, docs):
    (docs / "image.png").write_bytes(b"\x89PNG\0\0")
    (docs / "old.txt").write_bytes("café".encode("latin-1"))
    ran = memsvc("ingest", "ada", "docs", "--json")
    assert ran.code == 0
    assert ran.json["left_out"] == {"docs/image.png": "binary", "docs/old.txt": "not UTF-8"}
    assert "docs/image.png (binary)" in ran.err
    assert ran.json["documents"] == 2


@pytest.mark.parametrize("paths", [["none.md"], ["empty"]])
def test_nothing_to_ingest_is_said_before_a_tenant_is_made(fake, memsvc, docs, paths):
    Path("empty").mkdir()
    ran = memsvc("ingest", "ada", *paths)
    assert ran.code == 2
    assert paths[0] in ran.err or "nothing to ingest" in ran.err
    assert not fake.asked


def test_it_waits_until_all_is_recallable_unless_told_not_to(fake, memsvc, docs, monkeypatch):
    monkeypatch.setattr(ingest_module, "WAIT_S", 0.001)
    fake.fail["stats"] = [None, None, DeadlineExceededError("busy")]
    fake.lag = 5
    memsvc("ingest", "ada", "docs", "--json")
    assert fake.lag < 0
    fake.lag = 5
    memsvc("ingest", "ada", "docs", "--json", "--no-wait")
    assert fake.lag > 0


def test_a_full_queue_is_waited_for(fake, memsvc, docs):
    fake.fail["write"] = [ResourceExhaustedError("queue", retry_after=0.001)] * 3
    assert memsvc("ingest", "ada", "docs").code == 0
    assert len(fake.texts("ada")) == 6


def test_a_limit_that_time_does_not_lift_ends_it(fake, memsvc, docs):
    fake.fail["write"] = [ResourceExhaustedError("the disk is full")]
    ran = memsvc("ingest", "ada", "docs")
    assert ran.code == 1
    assert "the disk is full" in ran.err


def test_a_server_that_goes_away_is_said_and_a_repeat_goes_on(fake, memsvc, docs):
    fake.fail["write"] = [UnavailableError("gone", reason="UNREACHABLE")]
    ran = memsvc("ingest", "ada", "docs")
    assert ran.code == 3
    assert "memsvc serve" in ran.err
    assert memsvc("ingest", "ada", "docs").code == 0
    assert len(fake.texts("ada")) == 6


def test_batches_stay_small(fake, memsvc, tmp_path):
    (tmp_path / "big.md").write_text(guide(*range(2000)))
    assert memsvc("ingest", "ada", tmp_path / "big.md").code == 0
    batches = [asked["entries"] for method, asked in fake.asked if method == "write"]
    assert sum(map(len, batches)) == len(fake.tenants["ada"]) == 2000
    assert all(len(batch) <= MAX_BATCH_ENTRIES for batch in batches)
    assert all(sum(len(entry.text.encode()) for entry in batch) <= 128 * 1024 for batch in batches)


def test_people_see_what_was_done(fake, memsvc, docs):
    ran = memsvc("ingest", "ada", "docs")
    assert "2 documents, 6 passages written, 0 known already" in ran.out
    assert "tokens/s" in ran.out
