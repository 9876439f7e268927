import math
import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memsvc.recall.words import entry_terms, query_terms

from .build import WORDS, entries, index_of

TEXTS = st.lists(st.lists(st.sampled_from(WORDS), max_size=8).map(" ".join), min_size=1, max_size=12)


def naive_bm25(texts: list[str], query: str, k1: float = 1.2, b: float = 0.75) -> list[float]:
    """Robertson and Zaragoza's formula, entry by entry."""
    counts = [Counter(entry_terms(text)) for text in texts]
    mean = max(sum(sum(c.values()) for c in counts), 1) / len(texts)
    scores = []
    for count in counts:
        score = 0.0
        for term in set(query_terms(query)):
            held = sum(term in other for other in counts)
            if count[term]:
                idf = math.log(1 + (len(texts) - held + 0.5) / (held + 0.5))
                norm = k1 * (1 - b + b * sum(count.values()) / mean)
                score += idf * count[term] * (k1 + 1) / (count[term] + norm)
        scores.append(score)
    return scores


def index_texts(texts: list[str], batch: int):
    made = entries(0, len(texts))
    return index_of([entry._replace(text=text) for entry, text in zip(made, texts, strict=True)], batch)


@settings(max_examples=80, deadline=None)
@given(
    texts=TEXTS, query=st.lists(st.sampled_from([*WORDS, "absent"]), max_size=5).map(" ".join), batch=st.integers(1, 5)
)
def test_scores_are_bm25(texts, query, batch) -> None:
    index = index_texts(texts, batch)
    for count in range(1, len(texts) + 1):  # a past state is scored as if there had never been more
        scores = index.texts.lexical.scores(query_terms(query), count)
        np.testing.assert_allclose(scores, naive_bm25(texts[:count], query), rtol=1e-12, atol=1e-12)


def test_a_rare_word_counts_more_than_a_common_one_and_a_repeated_one_once() -> None:
    index = index_texts(["river stone", "river bread", "river winter"], 2)
    assert index.texts.lexical.scores(["stone"], 3)[0] > index.texts.lexical.scores(["river"], 3)[0] > 0
    np.testing.assert_array_equal(
        index.texts.lexical.scores(["river", "river"], 3), index.texts.lexical.scores(["river"], 3)
    )


def test_entries_without_words_score_nothing() -> None:
    index = index_texts(["the", "", "of"], 3)
    assert index.texts.lexical.scores(query_terms("river"), 3).tolist() == [0, 0, 0]


@pytest.mark.parametrize("seed", range(3))
def test_batches_do_not_matter(seed: int) -> None:
    dice = random.Random(seed)
    texts = [" ".join(dice.choices(WORDS, k=6)) for _ in range(40)]
    one, many = index_texts(texts, 1), index_texts(texts, 40)
    query = query_terms("river stone 我的猫")
    np.testing.assert_array_equal(one.texts.lexical.scores(query, 40), many.texts.lexical.scores(query, 40))
