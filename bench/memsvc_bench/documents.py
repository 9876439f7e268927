"""Retrieval over documents: questions to the topics of Python's own help (`pydoc_data.topics`).

Entries are passages of a topic (its session) in order; questions come in two kinds, none written by a language model:

- *cloze*: one sentence is taken out of a passage and becomes the question; the passage it came from is the gold
  answer. Sentences nearly equal to it (word sets with a Jaccard index of at least `NEAR`) are taken out too, and their
  passages are gold as well.
- *heading*: every section heading is left out of the indexed text; a heading whose words occur verbatim in no passage
  is a question, and the passages of its section are gold.

So no question shares a sentence with any passage. The corpus belongs to the running Python: `digest` names it,
and figures are comparable only under equal digests.
"""

import hashlib
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pydoc_data.topics import topics

from memsvc_bench.corpus import Passage, Question, Stream
from memsvc_bench.report import Result
from memsvc_bench.retrieval import costs, measure

TARGET = 650  # characters: a passage is closed once it reaches this
LONGEST = 1000  # characters: only a single line or sentence is longer
CLOZE = 300  # cloze questions at most, at most one from each passage
WORDS = range(10, 41)  # words of a sentence that may become a question
NEAR = 0.6  # Jaccard index of two sentences' word sets from which on they count as the same sentence
MAX_GOLD = 3  # a question with more gold passages than this is refused
KEEP = 250  # characters that must remain of a passage after a sentence is taken out

_HEADING = re.compile(r"^(?P<title>\S.*)\n(?P<line>\*{3,}|={3,}|-{3,}|\^{3,}|~{3,})$")
_SENTENCE_END = re.compile(r'(?<=[a-z0-9)"”][.!?])\s+(?=[A-Z"“(])')
# A sentence that leans on the one before it, or is a note of a version, asks nothing on its own.
_DEPENDENT = re.compile(
    r"(this|that|these|those|it|its|they|their|such|see|note|added|changed|new|deprecated|here|there|in this|in that"
    r"|for example|however|but|also|otherwise|then|thus|therefore|if so|both|neither|similarly|likewise"
    r"|the (above|following|same))\b",
    re.IGNORECASE,
)


@dataclass(slots=True)
class _Draft:
    topic: str
    paragraphs: list[list[str]] = field(default_factory=list)  # each a list of sentences, or one block of code
    sections: set[int] = field(default_factory=set)  # numbers of the headings over its text

    def text(self) -> str:
        return "\n\n".join(" ".join(sentences) for sentences in self.paragraphs if sentences)


def load(seed: int = 0) -> Stream:
    """Return the passages and their questions: cloze first, then headings.

    Deterministic in the seed and the running Python's help topics. The seed picks which sentences become questions.
    """
    passages, headings = _passages(_distinct_topics())
    cloze = _take_out_sentences(passages, random.Random(seed))
    heading = _heading_questions(passages, headings)
    entries = [Passage(p.topic, p.text()) for p in passages]
    kinds = (("cloze", cloze), ("heading", heading))
    questions = [Question(text, frozenset(gold), kind) for kind, found in kinds for text, gold in found]
    _check(entries, questions)
    return Stream("documents", entries, questions)


def bench() -> Result:
    """`memsvc bench documents`."""
    return measure("memsvc bench documents", [load()], digest(), costs)


def digest() -> str:
    """Return a short name for the running Python's corpus."""
    blob = "\0".join(f"{name}\0{text}" for name, text in sorted(topics.items()))
    return hashlib.sha256(blob.encode()).hexdigest()[:12]


def words(text: str) -> list[str]:
    """Return a text's words, folded to lower case."""
    return re.findall(r"[a-z0-9_]+", text.lower())


def _paragraphs(text: str) -> list[str]:
    return [p.rstrip() for p in re.split(r"\n\s*\n", text) if p.strip()]


def _distinct_topics() -> list[str]:
    """Topics in alphabetical order, less those of which a longer topic holds more than half ("if" is in "compound")."""
    kept, seen = [], set()
    for name in sorted(topics, key=lambda n: (-len(topics[n]), n)):
        paragraphs = [" ".join(p.split()) for p in _paragraphs(topics[name])]
        old = sum(len(p) for p in paragraphs if p in seen)
        if old <= sum(map(len, paragraphs)) / 2:
            kept.append(name)
            seen.update(paragraphs)
    return sorted(kept)


def _passages(names: list[str]) -> tuple[list[_Draft], list[str]]:
    """Return passages in order of topic and text, and the headings that were left out of them.

    A paragraph that occurred before, in this or an earlier topic, is dropped.
    """
    passages, headings, seen = [], [], set()
    for name in names:
        current, section = _Draft(name), -1
        for paragraph in _paragraphs(topics[name]):
            if match := _HEADING.match(paragraph):
                headings.append(match["title"].strip())
                section = len(headings) - 1
                if len(current.text()) >= KEEP:
                    passages.append(current)
                    current = _Draft(name)
                continue
            for piece in _pieces(paragraph):
                key = " ".join(" ".join(piece).split())
                if key in seen:
                    continue
                seen.add(key)
                if current.paragraphs and len(current.text()) + 2 + len(" ".join(piece)) > LONGEST:
                    passages.append(current)
                    current = _Draft(name)
                current.paragraphs.append(piece)
                if section >= 0:
                    current.sections.add(section)
                if len(current.text()) >= TARGET:
                    passages.append(current)
                    current = _Draft(name)
        if current.paragraphs:
            passages.append(current)
    return passages, headings


def _pieces(paragraph: str) -> Iterator[list[str]]:
    """A paragraph as lists of sentences, or a block of code as a list of one; cut where it is longer than a passage."""
    if _is_prose(paragraph):
        units = [s for s in _SENTENCE_END.split(" ".join(paragraph.split())) if s]
        glue = " "
    else:
        units, glue = paragraph.split("\n"), "\n"
    piece: list[str] = []
    for unit in units:
        if piece and len(glue.join([*piece, unit])) > LONGEST:
            yield piece if glue == " " else [glue.join(piece)]
            piece = []
        piece.append(unit)
    yield piece if glue == " " else [glue.join(piece)]


def _is_prose(paragraph: str) -> bool:
    lines = paragraph.split("\n")
    indents = {len(line) - len(line.lstrip()) for line in lines[1:]} or {len(lines[0]) - len(lines[0].lstrip())}
    letters = sum(ch.isalpha() or ch == " " for ch in paragraph) / len(paragraph)
    return (
        len(indents) == 1
        and letters > 0.8
        and not any(s in paragraph for s in ("::=", ">>>", " = ", "+--", "->", "):\n"))
    )


def _askable(sentence: str) -> bool:
    return (
        len(sentence.split()) in WORDS
        and sentence[0].isupper()
        and sentence.endswith(".")
        and not _DEPENDENT.match(sentence)
    )


def _take_out_sentences(passages: list[_Draft], rng: random.Random) -> list[tuple[str, set[int]]]:
    """Take up to `CLOZE` sentences out of the passages, in place; return their questions, in the passages' order."""
    where = [
        (i, p, s)
        for i, passage in enumerate(passages)
        for p, para in enumerate(passage.paragraphs)
        for s in range(len(para))
    ]
    bags = [frozenset(words(passages[i].paragraphs[p][s])) for i, p, s in where]
    candidates = [
        n
        for n, (i, p, s) in enumerate(where)
        if len(passages[i].paragraphs[p]) > 1 or _is_prose(passages[i].paragraphs[p][s])
    ]
    candidates = [n for n in candidates if _askable(passages[where[n][0]].paragraphs[where[n][1]][where[n][2]])]
    rng.shuffle(candidates)
    removed: dict[int, set[int]] = {}  # passage -> numbers (into where) of the sentences taken out of it
    found: list[tuple[int, str, set[int]]] = []
    for n in candidates:
        if len(found) == CLOZE:
            break
        same = [m for m, bag in enumerate(bags) if len(bag & bags[n]) >= NEAR * len(bag | bags[n])]
        gold = {where[m][0] for m in same}
        if len(gold) > MAX_GOLD or gold & removed.keys() or any(_left(passages, where, same, i) < KEEP for i in gold):
            continue
        for m in same:
            removed.setdefault(where[m][0], set()).add(m)
        i, p, s = where[n]
        found.append((min(gold), passages[i].paragraphs[p][s], gold))
    for numbers in removed.values():
        for m in sorted(numbers, reverse=True):
            i, p, s = where[m]
            del passages[i].paragraphs[p][s]
    return [(sentence, gold) for _, sentence, gold in sorted(found, key=lambda f: (f[0], f[1]))]


def _left(passages: list[_Draft], where: list[tuple[int, int, int]], taken: list[int], passage: int) -> int:
    """Characters left of a passage once the sentences `taken` are out of it."""
    out = sum(len(passages[i].paragraphs[p][s]) for i, p, s in (where[m] for m in taken) if i == passage)
    return len(passages[passage].text()) - out


def _heading_questions(passages: list[_Draft], headings: list[str]) -> list[tuple[str, set[int]]]:
    """Headings of two words or more, each once, that no passage holds verbatim and that head 1 … MAX_GOLD passages."""
    corpus = "\n".join(" ".join(words(p.text())) for p in passages)
    gold: dict[str, set[int]] = {title: set() for title in headings}
    for i, passage in enumerate(passages):
        for number in passage.sections:
            gold[headings[number]].add(i)
    return [
        (title, indexes)
        for title, indexes in gold.items()
        if len(words(title)) >= 2 and 1 <= len(indexes) <= MAX_GOLD and " ".join(words(title)) not in corpus
    ]


def _check(entries: list[Passage], questions: list[Question]) -> None:
    texts = [" ".join(words(entry.text)) for entry in entries]
    for question in questions:
        shared = [i for i, text in enumerate(texts) if " ".join(words(question.text)) in text]
        if shared or not question.gold:
            raise ValueError(f"question {question.text!r} is held verbatim by passages {shared}, or has no gold")
