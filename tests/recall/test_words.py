import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memsvc.recall.words import MAX_WORD, entry_terms, query_terms


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("我的猫很可爱", "猫"),
        ("我的猫很可爱", "可爱"),
        ("東京タワーに行きました", "タワー"),
        ("مرحبا بالعالم الجميل", "الجميل"),
        ("Привет, прекрасный мир!", "МИР"),
        ("Nous étions au café hier", "CAFÉ"),
        ("Nous étions au cafe\u0301 hier", "café"),
        ("Die Straße war leer", "STRASSE"),
        ("हम हिन्दी बोलते हैं", "हिन्दी"),
        ("ฉันกินข้าวแล้ว", "กินข้าว"),
        ("안녕하세요 세계", "세계"),
        ("what a party 🎉🎉!", "🎉"),
        ("well done 👍🏽", "👍"),
        ("I ❤️ it", "❤"),
        ("she is a 👩‍🚀 now", "👩‍🚀"),
        ("from 🇫🇷🇩🇪", "🇩🇪"),
        ("ｆｕｌｌ ｗｉｄｔｈ", "width"),
        ("call os.path.join(read_only)", "path"),
        ("call os.path.join(read_only)", "read_only"),
        ("see __init__", "init"),
        ("Caroline’s dogs", "Caroline's"),
        ("Caroline's dogs", "dog caroline"),
        ("it costs 3.14 or 1,000", "3.14"),
        ("the cats were running", "run cat"),
    ],
)
def test_a_word_of_any_language_finds_its_text(text: str, word: str) -> None:
    wanted = query_terms(word)
    assert wanted
    assert set(wanted) <= set(entry_terms(text))


def test_english_stop_words_are_no_terms() -> None:
    assert query_terms("What is it that they're doing with the") == []
    assert query_terms("Was die Katze will") == ["die", "katz"]


def test_only_latin_words_are_stemmed() -> None:
    assert entry_terms("runnings мирs") == ["мирs", "run"]


def test_a_pair_of_han_characters_outweighs_its_parts_in_a_query() -> None:
    assert query_terms("可爱") == ["可爱"]
    assert sorted(entry_terms("可爱")) == sorted(["可爱", "可", "爱"])


def test_words_of_any_length_count_by_their_beginning() -> None:
    assert entry_terms("ACGT" * 1000) == ["acgt" * (MAX_WORD // 4)]


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60))
def test_what_is_looked_for_is_among_what_an_equal_text_holds(text: str) -> None:
    assert set(query_terms(text)) <= set(entry_terms(text))
    assert all(term and len(term) <= MAX_WORD for term in entry_terms(text))


@pytest.mark.parametrize("unit", ["🇫", "\u0301\u0327", "👩\u200d", "a.", "_", "'", "1,", "猫", "\u200e"])
def test_hostile_text_takes_linear_time(unit: str) -> None:
    def seconds(size: int) -> float:
        text = "a" + unit * (size // len(unit.encode()))
        best = 1e9
        for _ in range(3):
            start = time.process_time()
            entry_terms(text)
            best = min(best, time.process_time() - start)
        return best

    # Eight times the text: a quadratic step would take 64 times as long.
    assert seconds(64 * 1024) < 30 * max(seconds(8 * 1024), 1e-3)
