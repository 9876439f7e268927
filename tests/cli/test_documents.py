"""Which documents there are, and what their passages are called: what makes an ingest repeatable."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memsvc.cli.documents import Document, NotTextError, decode, entries, find, session_of

PARAGRAPH = "Words that say something about number {0}, again and again. " * 8


@pytest.fixture
def docs(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("docs/b.md", "docs/a.txt", "docs/deep/c.rst", "docs/.hidden", "docs/.git/config", "docs/A.py"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(name)
    return tmp_path / "docs"


def names(*paths) -> list[str]:
    return [source.name for source in find([str(path) for path in paths])]


def test_a_folder_gives_the_same_names_however_it_is_named(docs, monkeypatch):
    expected = ["docs/A.py", "docs/a.txt", "docs/b.md", "docs/deep/c.rst"]
    assert names("docs") == names("docs/") == names("./docs") == names(docs) == names("docs/deep/..") == expected
    monkeypatch.chdir(docs / "deep")
    assert names("..") == expected


def test_a_file_is_called_as_it_was_given(docs):
    assert names("docs/b.md", "./docs//a.txt") == ["docs/b.md", "docs/a.txt"]
    assert names(docs / "b.md") == [str(docs / "b.md")]


def test_a_file_named_twice_is_one_document(docs):
    assert names("docs", "docs/b.md").count("docs/b.md") == 1


def test_two_files_of_one_name_are_refused(docs):
    (docs / "deep" / "docs").mkdir()
    (docs / "deep" / "docs" / "b.md").write_text("another")
    with pytest.raises(ValueError, match=r"docs/b\.md"):
        names("docs", "docs/deep/docs")


def test_what_is_not_there_is_said(docs):
    with pytest.raises(FileNotFoundError):
        names("docs/none.md")


def test_links_are_read_but_not_walked(docs):
    (docs / "loop").symlink_to(docs)
    (docs / "broken.md").symlink_to(docs / "none")
    (docs / "link.md").symlink_to(docs / "b.md")
    assert names("docs") == ["docs/A.py", "docs/a.txt", "docs/b.md", "docs/link.md", "docs/deep/c.rst"]


def test_a_name_that_is_not_utf8_becomes_one_that_is(docs):
    bad = os.fsencode(docs) + b"/\xff\n.md"
    try:
        Path(os.fsdecode(bad)).write_text("text")
    except OSError:
        pytest.skip("this file system takes no such name")
    assert "docs/��.md" in names("docs")


@pytest.mark.parametrize(
    ("data", "why"), [(b"a\0b", "binary"), ("é".encode("latin-1"), "not UTF-8"), (b"", "empty"), (b" \n", "empty")]
)
def test_what_is_no_text_is_told_apart(data, why):
    with pytest.raises(NotTextError, match=why):
        decode(data)


def test_a_byte_order_mark_is_no_text():
    assert decode(b"\xef\xbb\xbfText, \xe4\xb8\xad\xe6\x96\x87\r\n") == "Text, 中文\r\n"


def test_entries_say_where_they_stand():
    text = f"# Guide\n{PARAGRAPH.format(1)}\n\n## Use\n{PARAGRAPH.format(2)}"
    first, second = entries(Document("docs/guide.md", text))
    assert first.session == second.session == "docs/guide.md"
    assert first.metadata == {"source": "docs/guide.md", "position": 0, "start": 0, "heading": "Guide"}
    assert second.metadata["heading"] == "Guide > Use"
    assert text[second.metadata["start"] :].startswith("## Use")


def test_a_passage_keeps_its_id_wherever_it_stands_in_its_document():
    sections = [f"## Part {i}\n\n{PARAGRAPH.format(i)}" for i in range(10)]
    before = {entry.text: entry.id for entry in entries(Document("a.md", "\n\n".join(sections)))}
    sections.insert(3, f"## New\n\n{PARAGRAPH.format('new')}")
    after = {entry.text: entry.id for entry in entries(Document("a.md", "\n\n".join(sections)))}
    assert len(set(after.values()) - set(before.values())) == 1
    assert {text: id for text, id in after.items() if text in before} == before


def test_ids_tell_documents_and_repeated_passages_apart():
    text = "\n\n".join([f"## Same\n\n{PARAGRAPH.format(0)}"] * 3)
    one, other = entries(Document("a.md", text)), entries(Document("b.md", text))
    assert len({entry.text for entry in one}) == 1
    assert len({entry.id for entry in one + other}) == len(one) + len(other) == 6


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=400))
def test_a_session_fits_and_short_names_are_left_alone(name):
    session = session_of(name)
    assert 0 < len(session.encode()) <= 256
    assert len(name.encode()) > 256 or session == name
    assert session_of("x" + name) != session
