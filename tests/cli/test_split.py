"""What a reader of passages relies on: nothing is lost, nothing torn apart without need, the same always comes out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memsvc.cli.outline import grammar_of
from memsvc.cli.split import LEAST, SECTION, TARGET, WHOLE, split

GRAMMARS = ("markdown", "text", "source")
MARKS = [
    "",
    "",
    "   ",
    "# One",
    "## Two",
    "####### Seven",
    "Title",
    "=====",
    "-----",
    "~~~",
    "```",
    "```py",
    "    code",
]
MARKS += [
    "::",
    "Note:",
    "* item",
    "10. item",
    "a literal::",
    ".. code::",
    "\r",
    "\x0c",
    "\u2028",
    "|---|---|",
    "> quote",
]
LINES = st.one_of(
    st.sampled_from(MARKS),
    st.text(st.sampled_from("ab .!?\t\u0301\u200d👩中。\u00a0"), max_size=120),
    st.builds(lambda word, n: " ".join([word] * n), st.sampled_from(["word", "End.", "x" * 90]), st.integers(1, 400)),
    st.builds(lambda n: "中" * n, st.integers(1, 1500)),
)
TEXTS = st.builds(
    lambda lines, newline: newline.join(lines), st.lists(LINES, max_size=40), st.sampled_from(["\n", "\r\n", "\n\n"])
)


@given(TEXTS, st.sampled_from(GRAMMARS))
def test_passages_cover_the_text_in_order_and_leave_out_white_space_only(text, grammar):
    end = 0
    for piece in split(text, grammar):
        assert piece.start >= end
        assert not text[end : piece.start].strip()
        end = piece.start + len(piece.text)
        assert text[piece.start : end] == piece.text
        assert piece.text.strip()
    assert not text[end:].strip()


@given(TEXTS, st.sampled_from(GRAMMARS))
def test_no_passage_is_larger_than_an_entry_may_be_and_the_same_text_gives_the_same(text, grammar):
    pieces = split(text, grammar)
    assert all(len(piece.text) <= WHOLE and len(piece.text.encode()) <= 64 * 1024 for piece in pieces)
    assert split(text, grammar) == pieces


@given(st.lists(st.sampled_from(["Some words follow here.", "Others do not.", ""]), min_size=5, max_size=30))
def test_prose_falls_into_passages_of_the_size_an_encoder_takes_in_at_once(lines):
    pieces = split("\n".join(lines * 20), "text")
    assert all(len(piece.text) <= TARGET + SECTION for piece in pieces)
    assert all(len(piece.text) >= LEAST - 50 for piece in pieces[:-1])


@given(st.lists(st.sampled_from(["Words that say a thing.", "Is it so?", "Yes!"]), min_size=20, max_size=30))
def test_sentences_stay_whole(sentences):
    pieces = split(" ".join(sentences * 20), "text")
    assert len(pieces) > 1
    assert all(piece.text[-1] in ".?!" for piece in pieces)


def test_sections_begin_passages_and_headings_come_with_those_above_them():
    body = "Words that fill a section. " * 15
    text = f"# Guide\n\n## Install\n\n{body}\n\n## Use\n\n### Fast\n{body}\n\nSetext\n------\n{body}"
    pieces = split(text, "markdown")
    assert [piece.text.splitlines()[0] for piece in pieces] == ["# Guide", "## Use", "Setext"]
    assert [piece.heading for piece in pieces] == [("Guide",), ("Guide", "Use"), ("Guide", "Setext")]


def test_headings_of_restructured_text_have_levels_in_the_order_they_appear():
    body = "Words that fill a section. " * 15
    text = (
        f"=====\nTitle\n=====\n\nOne\n***\n{body}\n\nDeep\n~~~~\n{body}\n\nTwo\n***\n{body}\n\nNo heading\n---\n{body}"
    )
    assert [piece.heading for piece in split(text, "text")] == [
        ("Title",),
        ("Title", "One", "Deep"),
        ("Title", "Two"),
    ] + [("Title", "Two")] * (len(split(text, "text")) - 3)


def test_a_comment_in_source_is_no_heading():
    text = "\n\n".join(f"# Part {i}\n=====\ndef f{i}():\n    return {i}" for i in range(200))
    pieces = split(text, "source")
    assert {piece.heading for piece in pieces} == {()}
    # Functions are blocks, and blocks stay whole.
    assert all(piece.text.startswith("# Part") for piece in pieces)


@pytest.mark.parametrize("lines", [30, 90])
def test_a_code_block_stays_whole_with_the_line_that_announces_it(lines):
    code = "\n".join(["```python", *(f"value_{i} = compute({i})\n" for i in range(lines)), "```"])
    assert 600 < len(code) < WHOLE - 200
    text = f"{'Before it. ' * 60}\n\nFor example:\n\n{code}\n\n{'After it. ' * 60}"
    (piece,) = [piece for piece in split(text, "markdown") if "```" in piece.text]
    assert code in piece.text


def test_an_announced_block_of_restructured_text_stays_whole():
    code = "\n\n".join(f"   value_{i} = compute({i})" for i in range(60))
    text = f"{'Before it. ' * 90}\n\nAn example::\n\n{code}\n\n{'After it. ' * 90}"
    assert any(code in piece.text for piece in split(text, "text"))


def test_a_code_block_larger_than_a_passage_may_be_is_cut_between_lines():
    code = "\n".join(f"value_{i} = compute({i})" for i in range(1000))
    pieces = split(f"```\n{code}\n```", "markdown")
    assert all(len(piece.text) <= WHOLE for piece in pieces)
    assert all(
        line.startswith(("value_", "```")) and line.endswith((")", "```"))
        for p in pieces
        for line in p.text.split("\n")
    )


def test_text_without_spaces_is_cut_between_characters_as_readers_see_them():
    family = "👩\u200d👩\u200d👧"
    for character in ("e\u0301", family, "中"):
        pieces = split(character * 2000, "text")
        assert len(pieces) > 1
        assert all(len(piece.text) % len(character) == 0 for piece in pieces)
    assert all(piece.text.endswith("。") for piece in split("这是一句话。" * 500, "text"))


def test_a_change_in_one_section_leaves_the_passages_of_the_others():
    sections = [f"## Part {i}\n\n" + f"What part {i} says, at length. " * 60 for i in range(20)]
    before = {piece.text for piece in split("\n\n".join(sections), "markdown")}
    sections[7] = "## Part 7\n\nIt says something else now. " + sections[7]
    after = {piece.text for piece in split("\n\n".join(sections), "markdown")}
    assert all("Part 7" in text or "part 7" in text for text in before ^ after)
    assert before & after


@pytest.mark.parametrize(
    "unit", ["#", "# ", "=\n", "`", "```\n", " ", "\n", "* ", ":\n\n", "。", ". ", "\u0301", "\u200d", "::\n "]
)
@pytest.mark.parametrize("grammar", GRAMMARS)
def test_a_lot_of_one_mark_is_no_trouble(unit, grammar):
    text = unit * (100_000 // len(unit))
    assert sum(len(piece.text) for piece in split(text, grammar)) <= len(text)


def test_a_suffix_tells_the_grammar():
    assert [grammar_of(suffix) for suffix in (".md", ".MD", ".rst", ".txt", "", ".py", ".json")] == [
        "markdown",
        "markdown",
        "text",
        "text",
        "text",
        "source",
        "source",
    ]
