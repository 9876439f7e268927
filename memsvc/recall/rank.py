"""From a query to ranked entries: dense and lexical signals, and the context of a session (DESIGN.md, Recall)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from memsvc.errors import InvalidArgumentError
from memsvc.recall.codes import CODE_ERROR
from memsvc.recall.cut import Cut
from memsvc.recall.filter import Filter
from memsvc.recall.index import Index
from memsvc.recall.sessions import best_mean, neighbour_sum
from memsvc.recall.words import query_terms

MOST_ALSO = 100
"""Other entries with a hit's text that are named with it, the newest ones."""
NEAR = 100
"""Entries beside the k best that are scored exactly where the others' scores are those of codes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RankConfig:
    """The weight of each signal. 0 switches one off.

    Raises:
        InvalidArgumentError: a value is out of its range; names the field.
    """

    surprise: float = 0.6
    """Of the dense signal in surprise space."""
    cosine: float = 0.4
    """Of the plain dense signal."""
    lexical: float = 0.7
    """Of BM25."""
    neighbour1: float = 0.3
    """Of the scores of the entries just before and after in the session."""
    neighbour2: float = 0.15
    """Of the scores of the entries two places before and after."""
    session: float = 0.6
    """Of the mean of the session's best scores."""
    session_top: int = 3
    """How many of the session's scores are its best."""

    def __post_init__(self) -> None:
        for field in ("surprise", "cosine", "lexical", "neighbour1", "neighbour2", "session"):
            if not (math.isfinite(getattr(self, field)) and getattr(self, field) >= 0):
                raise InvalidArgumentError(f"rank.{field}", "must be a number of at least 0")
        if self.session_top < 1:
            raise InvalidArgumentError("rank.session_top", "must be at least 1")


class Query(NamedTuple):
    """What is looked for. Both vectors are unit, [d]."""

    text: str
    pooled: NDArray[np.float32]
    """What the encoder makes of the text."""
    surprise: NDArray[np.float32]
    """What the memory does not expect of it: (I - M) on `pooled`, normalised."""

    @property
    def vectors(self) -> NDArray[np.float32]:
        """[2, d]: in surprise space, and as it is."""
        return np.stack([self.surprise, self.pooled])


class Ranked(NamedTuple):
    """A hit. The four weighted parts sum to the score."""

    number: int
    score: float
    surprise: float
    cosine: float
    lexical: float
    context: float
    """From the entry's neighbours and its session."""
    span: tuple[int, int]
    """Start and end, in code points, of the passage that the dense signals like best."""
    also: tuple[int, ...] = ()
    """The numbers of other entries found that share the text, ascending; the newest MOST_ALSO of them."""


class _Moments(NamedTuple):
    """What makes a z-score of a product, weighted."""

    mean: float
    factor: float


class _Scores(NamedTuple):
    """Weighted parts of the first n entries, [n] each; and the dense score of their texts' passages, [p]."""

    surprise: NDArray[np.float64]
    cosine: NDArray[np.float64]
    lexical: NDArray[np.float64]
    context: NDArray[np.float64]
    passages: NDArray[np.float64]
    moments: tuple[_Moments, ...]
    """Of surprise and of cosine; none where both are off."""


def rank(
    index: Index,
    query: Query,
    config: RankConfig,
    k: int,
    filter: Filter | None = None,
    *,
    as_of: int | None = None,
) -> list[Ranked]:
    """Return the k best entries, best first; of equal scores the lower number first.

    Every signal is z-scored over all texts; the filter only selects afterwards. With `as_of` the entries after that
    seq do not exist: not as hits, in frequencies, lengths, neighbours, nor z-scores. Nor do the dead. Of entries that
    share a text the best that is selected stands for all.

    Among very many passages (`vectors.EXACT_ROWS`) the dense parts are those of codes; the k + NEAR best entries are
    scored again by their vectors. Means, scales and context stay those of codes.
    """
    cut = index.cut(as_of)
    if not cut.size or k < 1 or (cut.live is not None and not cut.live.any()):
        return []
    parts = _score(index, query, config, cut)
    score = parts.surprise + parts.cosine + parts.lexical + parts.context
    selected = np.ones(cut.size, bool) if filter is None else index.select(filter, cut.size)
    found = np.flatnonzero(selected if cut.live is None else selected & cut.live)
    distinct = found if cut.text is None else _best_of_each(score, found, cut.text)
    if len(found) and parts.moments and not index.texts.are_exact(cut.texts):
        distinct = np.sort(_best(score, distinct, k + NEAR))
        _refine(index, query, parts, distinct, cut)
        near = [part[distinct] for part in (parts.surprise, parts.cosine, parts.lexical, parts.context)]
        score[distinct] = np.sum(near, 0)
    best = _best(score, distinct, k)
    also = [()] * len(best) if cut.text is None else _others(best, found, cut.text)
    return [
        Ranked(
            number=index.number(i),
            score=float(score[i]),
            surprise=float(parts.surprise[i]),
            cosine=float(parts.cosine[i]),
            lexical=float(parts.lexical[i]),
            context=float(parts.context[i]),
            span=index.span(i, parts.passages),
            also=tuple(index.number(other) for other in others),
        )
        for i, others in zip(best, also, strict=True)
    ]


def _score(index: Index, query: Query, config: RankConfig, cut: Cut) -> _Scores:
    surprise = cosine = lexical = np.zeros(cut.texts)
    passages = np.zeros(index.passages)
    moments: tuple[_Moments, ...] = ()
    if config.surprise or config.cosine:
        # Both products in one pass: they take as long as reading the vectors does.
        products = index.texts.products(query.vectors, cut.texts)
        bests = [index.texts.best(product, cut.texts) for product in products]
        weights = (config.surprise, config.cosine)
        exact = index.texts.are_exact(cut.texts)
        moments = tuple(_weighted(best, weight, cut, exact=exact) for best, weight in zip(bests, weights, strict=True))
        surprise, cosine = ((best - m.mean) * m.factor for best, m in zip(bests, moments, strict=True))
        passages = _passages(products, moments)
    if config.lexical:
        words = index.texts.lexical.scores(query_terms(query.text), cut.texts, cut.live_texts)
        lexical = config.lexical * standardise(words, cut.live_texts)
    if cut.text is not None:
        surprise, cosine, lexical = surprise[cut.text], cosine[cut.text], lexical[cut.text]
    own = surprise + cosine + lexical
    chains, counts = (cut.chains, cut.live) if cut.places is None else (cut.places.chains, cut.places.counts)
    context = neighbour_sum(own, chains, (config.neighbour1, config.neighbour2))
    if cut.places is not None:
        context = context[cut.places.head]
    if config.session:
        context += config.session * best_mean(own, index.sessions.session[: cut.size], config.session_top, counts)
    return _Scores(surprise, cosine, lexical, context, passages, moments)


def _weighted(best: NDArray[np.float64], weight: float, cut: Cut, *, exact: bool) -> _Moments:
    mean, scale = _moments(best, cut.live_texts)
    # Where products differ by less than the error of codes, they say nothing.
    return _Moments(mean, weight / (scale if exact else max(scale, CODE_ERROR)))


def _passages(products: NDArray[np.float64], moments: Sequence[_Moments]) -> NDArray[np.float64]:
    """Return the dense score of passages, [p], from their products [2, p]; up to what is the same for all."""
    surprise, cosine = moments
    scores: NDArray[np.float64] = products[0] * surprise.factor + products[1] * cosine.factor
    return scores


def _refine(index: Index, query: Query, parts: _Scores, entries: NDArray[np.int64], cut: Cut) -> None:
    """Put what vectors come to in the place of what their codes do, for some entries and their passages."""
    rows, starts = index.texts.rows(entries if cut.text is None else cut.text[entries])
    products = index.texts.vectors.exact(query.vectors, rows)
    for part, product, m in zip((parts.surprise, parts.cosine), products, parts.moments, strict=True):
        part[entries] = (np.maximum.reduceat(product, starts) - m.mean) * m.factor
    parts.passages[rows] = _passages(products, parts.moments)


def standardise(scores: NDArray[np.float64], live: NDArray[np.bool_] | None = None) -> NDArray[np.float64]:
    """Return z-scores, population standard deviation, over the living; all 0 where all scores are equal."""
    mean, scale = _moments(scores, live)
    standard: NDArray[np.float64] = (scores - mean) / scale
    return standard


def _moments(scores: NDArray[np.float64], live: NDArray[np.bool_] | None) -> tuple[float, float]:
    living = scores if live is None else scores[live]
    mean = float(living.mean())
    apart = living - mean
    np.square(apart, out=apart)
    return mean, math.sqrt(float(apart.mean())) + 1e-9


def _best(score: NDArray[np.float64], found: NDArray[np.int64], k: int) -> list[int]:
    """Return up to k of the found positions by descending score, ties by ascending position."""
    scores = -score[found]
    if k < len(found):
        found = found[scores <= np.partition(scores, k - 1)[k - 1]]
        scores = -score[found]
    best: list[int] = found[np.argsort(scores, kind="stable")[:k]].tolist()
    return best


def _best_of_each(score: NDArray[np.float64], found: NDArray[np.int64], texts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return of the found positions that share a text the one of the highest score, the first of equals; ascending."""
    text = texts[found]
    highest = np.full(int(texts.max()) + 1, -np.inf)
    np.maximum.at(highest, text, score[found])
    # Assigned backwards, the first one stays.
    best = found[score[found] == highest[text]][::-1]
    chosen = np.full(len(highest), -1)
    chosen[texts[best]] = best
    return np.sort(chosen[chosen >= 0])


def _others(best: list[int], found: NDArray[np.int64], texts: NDArray[np.int64]) -> list[tuple[int, ...]]:
    """Return for each hit the other positions found that share its text, ascending, the last MOST_ALSO of them."""
    wanted = np.zeros(int(texts.max()) + 1, bool)
    wanted[texts[best]] = True
    members: dict[int, list[int]] = {}
    for position in found[wanted[texts[found]]].tolist():
        members.setdefault(int(texts[position]), []).append(position)
    return [tuple(p for p in members[int(texts[i])] if p != i)[-MOST_ALSO:] for i in best]
