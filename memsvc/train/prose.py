"""Needles in English: in prose, or in what speakers say to each other."""

import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Literal

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from memsvc.train.clauses import Wording
from memsvc.train.corpus import Document, documents
from memsvc.train.families import FAMILIES, FamilyName, distractor
from memsvc.train.family import Family, Needle
from memsvc.train.figures import figures
from memsvc.train.source import Fact, Tokens

VOCABULARY = 1024
_LINES = 3000
"""Needles among what the tokenizer is made from."""
_WORDS, _PHRASES, _RUN = 3000, 20_000, 6
"""Words, and runs of words, that loose forms are made of; the most words of a run."""
_WORD = re.compile(r"\b[a-z]{2,12}\b")
_BARRED = re.compile(r"[0-9{}]|.{50}")
"""No phrase: one with numbers, with what forms are filled in by, or too long to stand beside a fact."""
_FIGURES = 160
"""Documents of numbers among training's texts."""
_TURNS, _SENTENCES = 24, 3
"""Turns of two speakers before two others take over; the most sentences of a turn."""


class Prose:
    """Facts about made-up names, in Python's manual and docstrings.

    Args:
        kind: plain text, or the same as turns of speakers.
        tokenizer: another than the one that is made from the training's texts.
    """

    def __init__(self, kind: Literal["text", "dialogue"], tokenizer: Tokenizer | None = None) -> None:
        self.name = kind
        chosen = {test: documents(test=test, code=kind == "text") for test in (False, True)}
        wording = Wording(frequent(chosen[False], _WORDS), phrases(chosen[False], _PHRASES))
        self._families = {
            name: replace(family, wording=wording) if name == "training" else family
            for name, family in FAMILIES[kind].items()
        }
        texts = {test: "\n".join(map(self._text, found)) for test, found in chosen.items()}
        texts[False] = "\n".join((texts[False], *figures(_FIGURES)))
        self.tokenizer = tokenizer or make_tokenizer([texts[False], *self._lines()], VOCABULARY)
        self._hay = {test: self._encode(text) for test, text in texts.items()}

    def facts(self, rng: random.Random, count: int, family: FamilyName) -> list[Fact]:
        """Return facts with different keys."""
        return draw_facts(rng, count, self._families[family], self.tokenizer)

    def haystack(self, rng: random.Random, count: int, *, test: bool) -> list[int]:
        """Return so many tokens, from a random place on; at the end of all documents it goes on at the first."""
        hay = self._hay[test]
        start = rng.randrange(len(hay))
        found = list(hay[start : start + count])
        while len(found) < count:
            found += hay[: count - len(found)]
        return found

    def distractor(self, rng: random.Random, *, test: bool) -> Tokens:
        """Return a sentence with a name or a number that states nothing to be asked for."""
        family = self._families["disjoint" if test else "training"]
        speaker = f"{rng.choice(family.names)}: " if self.name == "dialogue" else ""
        return self._encode(f"{family.lead}{speaker}{distractor(rng, test=test, wording=family.wording)}")

    def _text(self, document: Document) -> str:
        return document.text if self.name == "text" else "\n".join(turns(document, self._families["training"].names))

    def _encode(self, text: str) -> Tokens:
        return tuple(self.tokenizer.encode(text).ids)

    def _lines(self) -> list[str]:
        rng = random.Random(0)  # noqa: S311  # a seed, no secret
        needles = self._families["training"].draw(rng, _LINES)
        return [f"{needle.before}{needle.value}{needle.after}" for needle in needles]


def frequent(texts: Sequence[Document], count: int) -> tuple[str, ...]:
    """Return so many words, those that are there most often first."""
    counts = Counter(word for document in texts for word in _WORD.findall(document.text))
    # Of equal counts in the alphabet's order, so that the files' order does not show.
    return tuple(sorted(counts, key=lambda word: (-counts[word], word))[:count])


def phrases(texts: Sequence[Document], count: int) -> tuple[str, ...]:
    """Return so many runs of words, without numbers."""
    rng, found = random.Random(0), list[str]()  # noqa: S311  # a seed, no secret
    running = [document.text.split() for document in texts]
    while len(found) < count:
        words = rng.choice(running)
        start = rng.randrange(len(words))
        run = " ".join(words[start : start + rng.randint(2, _RUN)])
        if not _BARRED.search(run):
            found.append(run)
    return tuple(found)


def draw_facts(rng: random.Random, count: int, family: Family, tokenizer: Tokenizer) -> list[Fact]:
    """Return facts with different keys."""
    return [to_fact(needle, tokenizer) for needle in family.draw(rng, count)]


def to_fact(needle: Needle, tokenizer: Tokenizer) -> Fact:
    """Return a needle in tokens."""
    before, value, after, question, end = (tuple(tokenizer.encode(part).ids) for part in (*needle, "."))
    # A blank, then the digits.
    return Fact(before, value, after, question, end, free=1)


def make_tokenizer(texts: Sequence[str], vocabulary: int) -> Tokenizer:
    """Return byte-level BPE made from these texts. Every digit is a token."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=vocabulary, show_progress=False, initial_alphabet=alphabet)
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def turns(document: Document, names: Sequence[str]) -> Iterator[str]:
    """Yield a document's sentences as turns of two speakers, and of two others after a while."""
    rng = random.Random(document.name)  # noqa: S311  # a seed, no secret
    sentences = document.text.replace("\n", " ").split(". ")
    pair, place, turn = rng.sample(names, 2), 0, 0
    while place < len(sentences):
        if turn == _TURNS:
            pair, turn = rng.sample(names, 2), 0
        count = rng.randint(1, _SENTENCES)
        yield f"{pair[turn % 2]}: {'. '.join(sentences[place : place + count])}."
        place, turn = place + count, turn + 1
