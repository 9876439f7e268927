"""Which texts count as equal, and that merging them is a function of the log alone."""

import unicodedata
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memsvc.engine.fold import fold
from memsvc.engine.ingest import Ingest, Lane
from memsvc.engine.runner import Runner
from memsvc.memory.config import MemoryConfig
from memsvc.recall.encoder import load_encoder
from memsvc.recall.words import folded
from memsvc.store.types import Record, RecordKind, StoredEntry
from memsvc.tenant.duplicates import text_key
from memsvc.tenant.policies import Policies
from memsvc.tenant.record import Content, encode_configure, encode_create, encode_payload
from memsvc.tenant.view import Segments, View

MEMORY = MemoryConfig(width=1, chunk=16)
TEXTS = ("gattaca tagaca", "Gattaca  TAGACA", "the river froze over", "a harbour at noon ", "a harbour at noon")
UNIT_TOKENS = 64


@pytest.fixture(scope="module")
def runner() -> Runner:
    return Runner(load_encoder("kmer", threads=1, dtype="float32"), slots=8)


# --- texts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("The River", "the river"),
        ("  the\t river\n", "the river"),
        ("ﬁne №１", "fine No1"),
        ("STRASSE", "straße"),
        ("cafe\u0301", "café"),
        ("\u03d2\u0301", "\u038e"),
    ],
)
def test_texts_are_equal_but_for_case_spaces_and_compatibility_forms(one, other) -> None:
    assert text_key(Content(text=one)) == text_key(Content(text=other))


@pytest.mark.parametrize("other", ["the river.", "theriver", "the rivér", "the river 👍🏽", ""])
def test_texts_are_not_equal_else(other) -> None:
    assert text_key(Content(text="the river")) != text_key(Content(text=other))


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_what_is_folded_stays_as_it_is(text) -> None:
    once = folded(text)
    assert folded(once) == once
    assert folded(text.upper().lower()) == folded(text.upper())


def test_a_text_of_very_many_marks_is_keyed_at_once_and_equals_itself_alone() -> None:
    marks = "a" + "\u0301\u0323" * 16_000
    assert folded(marks) == marks
    assert unicodedata.normalize("NFKC", marks[:9]) != marks[:9]


def test_a_vector_and_whether_it_learns_are_part_of_it() -> None:
    one, two = np.eye(2, dtype="<f4")
    contents = [
        Content(text="a"),
        Content(text="a", learn=False),
        Content(text="a", vector=one.tobytes()),
        Content(text="a", vector=two.tobytes()),
    ]
    assert len({text_key(content) for content in contents}) == len(contents)
    assert text_key(Content(text="A", vector=one.tobytes())) == text_key(contents[2])


# --- the fold ---------------------------------------------------------------------------------------------------------


def record(seq: int, kind: RecordKind, first: int, contents: Sequence[Content] = (), **fields) -> Record:
    stored = tuple(
        StoredEntry(number=first + i, seq=seq, commit_us=seq, payload=encode_payload(str(first + i), content))
        for i, content in enumerate(contents)
    )
    return Record(seq=seq, commit_us=seq, kind=kind, entries=stored, **fields)


def created(duplicates: str) -> Record:
    body = encode_create(MEMORY, "f", Policies(duplicates=duplicates))
    return Record(seq=1, commit_us=1, kind=RecordKind.CREATE, body=body)


def log(steps: Sequence, duplicates: str = "merge") -> list[Record]:
    """Contents to write as one record, numbers that die, or a policy from then on."""
    records, number = [created(duplicates)], 1
    for step in steps:
        seq = len(records) + 1
        if isinstance(step, str):
            body = encode_configure({}, {"duplicates": step})
            records.append(record(seq, RecordKind.CONFIGURE, number, body=body))
        elif isinstance(step, int):
            records.append(record(seq, RecordKind.DELETE, number, about=(step,)))
        else:
            records.append(record(seq, RecordKind.WRITE, number, step))
            number += len(step)
    return records


def folded_view(runner: Runner, records: Sequence[Record], uid: str = "t") -> tuple[View, str]:
    view = fold(runner, uid, records)
    return view, let_go(runner, view, uid)


def let_go(runner: Runner, view: View, uid: str) -> str:
    """Take a view from the runner, weights included; return its state hash."""
    view.weights = runner.weights(uid)
    runner.detach(uid)
    return view.state_hash(view.weights)


def texts_of(view: View) -> list[int]:
    """Per entry, the number of its text."""
    return view.index._text.values.tolist()


contents = st.builds(Content, text=st.sampled_from(TEXTS), session=st.sampled_from(["", "s", "t"]), learn=st.booleans())
steps = st.lists(
    st.one_of(st.lists(contents, min_size=1, max_size=6), st.integers(1, 5), st.sampled_from(["keep", "merge"])),
    max_size=12,
)


def expected(steps: Sequence, duplicates: str = "merge") -> list[int]:
    """What `texts_of` is by the rule: an entry shares the text of the newest living one that has it."""
    texts: list[int] = []
    living: list[tuple[int, tuple]] = []
    for step in steps:
        if isinstance(step, str):
            duplicates = step
        elif isinstance(step, int):
            living = [each for each in living if each[0] != step - 1]
        else:
            for content in step:
                key = (folded(content.text), content.learn)
                alike = [position for position, other in living if other == key]
                living.append((len(texts), key))
                merged = duplicates == "merge" and alike
                texts.append(texts[alike[-1]] if merged else max(texts, default=-1) + 1)
    return texts


@settings(max_examples=60, deadline=None)
@given(steps=steps, data=st.data())
def test_a_text_that_a_living_entry_has_is_shared(runner, steps, data) -> None:
    records = log(steps)
    view, state = folded_view(runner, records)
    assert texts_of(view) == expected(steps)
    # A snapshot after any record, and the rest of the log, make the same view.
    at = data.draw(st.integers(1, len(records)))
    early, _ = folded_view(runner, records[:at])
    saved = early.snapshot(early.weights, "kmer", Segments(names=[], entries=0))
    later, _ = View.restore(saved, runner.encoder.dim, "kmer")
    assert went_on(runner, later, records[at:]) == state
    assert texts_of(later) == texts_of(view)
    assert later.index.segments() == view.index.segments()


def went_on(runner: Runner, view: View, records: Sequence[Record]) -> str:
    """Fold records one by one on top of a view; return its state hash."""
    failures: list[BaseException] = []
    ingest = Ingest(runner)
    ingest.attach(lane := Lane("later", view, lambda record: None, failures.append))
    for each in records:
        ingest.push(lane, each)
        while ingest.unit(UNIT_TOKENS):
            pass
    assert not failures
    return let_go(runner, view, "later")


@settings(max_examples=30, deadline=None)
@given(written=st.lists(contents, min_size=1, max_size=16), cuts=st.sets(st.integers(1, 15)))
def test_how_entries_are_cut_into_records_leaves_no_trace(runner, written, cuts) -> None:
    ends = [*sorted(cut for cut in cuts if cut < len(written)), len(written)]
    parts = [written[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    one, state = folded_view(runner, log([written]))
    many, again = folded_view(runner, log(parts))
    assert state == again
    assert texts_of(one) == texts_of(many)


def test_a_text_written_a_thousand_times_is_learnt_once(runner) -> None:
    once, _ = folded_view(runner, log([[Content(text=TEXTS[0])]]))
    often, _ = folded_view(runner, log([[Content(text=TEXTS[i % 2], session=str(i)) for i in range(1000)]]))
    kept, _ = folded_view(runner, log([[Content(text=TEXTS[0])] * 1000], duplicates="keep"))
    assert often.totals == once.totals
    assert often.tail.tobytes() == once.tail.tobytes()
    assert (len(often.index), often.index.passages, often.index.merged) == (1000, once.index.passages, 999)
    assert kept.totals.tokens == 1000 * once.totals.tokens
    assert kept.index.merged == 0


@settings(max_examples=40, deadline=None)
@given(written=st.lists(contents, min_size=1, max_size=14), forgotten=st.sets(st.integers(0, 13)))
def test_without_the_forgotten_it_is_as_if_they_had_never_been_written(runner, written, forgotten) -> None:
    """What an erasure folds: the same records, less those entries."""
    whole = log([[content] for content in written])
    without = [whole[0], *(replace(r, entries=() if r.seq - 2 in forgotten else r.entries) for r in whole[1:])]
    kept = [entry.payload for each in without for entry in each.entries]
    never = [whole[0]]
    for number, payload in enumerate(kept, 1):
        entry = StoredEntry(number=number, seq=number + 1, commit_us=0, payload=payload)
        never.append(Record(seq=number + 1, commit_us=0, kind=RecordKind.WRITE, entries=(entry,)))
    view, state = folded_view(runner, without)
    twin, twins = folded_view(runner, never)
    assert state == twins
    assert texts_of(view) == texts_of(twin)


@settings(max_examples=40, deadline=None)
@given(written=st.lists(contents, min_size=1, max_size=14), gone=st.sets(st.integers(0, 13)))
def test_a_fold_when_the_text_of_what_does_not_learn_is_gone_makes_the_same_state(runner, written, gone) -> None:
    """It is destroyed as it dies; an entry that shared it brings its own then."""
    records = log([*([content] for content in written), *(i + 1 for i in sorted(gone))])
    _, state = folded_view(runner, records)
    destroyed = {i for i in gone if i < len(written) and not written[i].learn}
    again = [replace(each, entries=() if each.seq - 2 in destroyed else each.entries) for each in records]
    assert folded_view(runner, again)[1] == state


def test_a_log_without_the_policy_keeps_duplicates(runner) -> None:
    old = encode_create(MEMORY, "f", Policies()).replace(b"\xaaduplicates\xa4keep", b"").replace(b"\x84", b"\x83")
    records = log([[Content(text=TEXTS[0])] * 2])
    records[0] = Record(seq=1, commit_us=1, kind=RecordKind.CREATE, body=old)
    view, _ = folded_view(runner, records)
    assert view.policies.duplicates == "keep"
    assert texts_of(view) == [0, 1]
