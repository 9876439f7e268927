"""Needles: what is hidden in a text and asked for later. Which of them training may see is decided here alone.

`disjoint` shares nothing with `training`: no form of sentence or question, no attribute, no key, no length of a value,
no speaker. `similar` has training's forms, new keys, and the length that training sees most.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

from memsvc.train.clauses import Wording, capitalised, loose, sentences
from memsvc.train.family import Family
from memsvc.train.words import draw

FamilyName = Literal["training", "similar", "disjoint"]

_ADJECTIVES = (
    *("secret", "private", "public", "old", "new", "main", "spare", "first", "second", "internal", "home", "daily"),
    *("access", "door", "locker", "account", "ticket", "serial", "room", "phone", "order", "key", "badge", "street"),
    *("green", "red", "paper", "winter", "summer", "office", "school", "garden", "music", "bank", "train", "water"),
    *("lucky", "last", "small", "long", "family", "market", "kitchen", "energy", "garage", "gold", "data", "test"),
)
_NOUNS = (
    *("number", "code", "key", "pin", "password", "score", "extension", "total", "rank", "price", "weight", "age"),
    *("size", "level", "count", "index", "date", "route", "channel", "permit", "table", "seat", "gate", "shelf"),
    *("card", "plate", "label", "box", "room", "page", "mark", "record", "stamp", "club", "unit", "address"),
)
_OPENINGS = (
    *("", "", "", "", "Note that ", "Remember: ", "By the way, ", "I heard that ", "As we said, ", "In short, "),
    *("Just so you know, ", "The report says that ", "Someone wrote that ", "Do not forget: ", "For the record, "),
)
_ENDINGS = (".", ".", ".", ".", " now.", " today.", ", as always.", " this year.", ", they said.", " and that is all.")
_LEADS = ("", "", "", "So ", "Now, ", "Again: ", "Question: ", "Hello. ", "As I asked, ")
_ASKED = (
    *("the {attribute} of {key} is", "the {attribute} for {key} is", "{key} has the {attribute}", "{key}: {attribute}"),
    *("{key}'s {attribute} is", "what is the {attribute} of {key}? It is", "for {key}, the {attribute} is"),
    *("which {attribute} does {key} have? It has", "do you know {key}? The {attribute} was", "{key} got {attribute}"),
    *("look at {key}. The {attribute} there is", "who is {key}? The one with {attribute}", "{key} keeps {attribute}"),
    *(
        "I ask for {key}. Its {attribute} would be",
        "give me the {attribute} of {key}:",
        "{key} is listed with {attribute}",
    ),
    *(
        "say which {attribute} {key} has:",
        "I need the {attribute} for {key}, which is",
        "we know {key} by the {attribute}",
    ),
    *("can you say the {attribute} of {key}? Yes, it is", "if you meet {key}, the {attribute} is"),
    *(
        "the {attribute} that {key} chose is",
        "according to {key}, the {attribute} is",
        "{key} was given the {attribute}",
    ),
)


_FORMS = 4000
"""Of training's statements, and of its questions."""
_QUESTIONS = tuple(capitalised(f"{lead}{asked}") for lead in _LEADS for asked in _ASKED)

_TEXT = Family(
    attributes=(*(f"{kind} {noun}" for kind in _ADJECTIVES for noun in _NOUNS), *_NOUNS * 4),
    statements=sentences(_FORMS, openings=_OPENINGS, endings=tuple(f" {{value}}{ending}" for ending in _ENDINGS)),
    questions=(
        *_QUESTIONS * (_FORMS // 2 // len(_QUESTIONS)),
        *sentences(_FORMS // 2, openings=_LEADS, endings=("",)),
    ),
    lengths=(5, 5, 5, 5, 2, 4, 7, 8),
    test=False,
)

_OTHER_TEXT = Family(
    attributes=("vault code", "flight number", "magic number", "tracking number", "licence", "bus line"),
    statements=(
        "Keep in mind: {key} uses the {attribute} {value}.",
        "They assigned {key} a {attribute}, namely {value}.",
        "It turned out that {key} owns {attribute} {value}.",
        "In the register, {key} stands under {attribute} {value}.",
    ),
    questions=(
        "Tell me the {attribute} that {key} uses:",
        "{key} owns {attribute}",
        "In the register, {key} stands under {attribute}",
        "Please look up {key}. Its {attribute} must be",
    ),
    lengths=(3, 6),
    test=True,
)

_TOLD = (
    "The {attribute} of {key} is {value}.",
    "By the way, the {attribute} of {key} is {value}.",
    "{other}, please remember that the {attribute} for {key} is {value}.",
    "I have it here, {key} has the {attribute} {value}.",
    "For {key} we took the {attribute} {value}, {other}.",
    "Did I tell you? {key} got {attribute} {value} today.",
    "What about {key}?\n{other}: The {attribute} is {value}.",
    "Do you know the {attribute} of {key}?\n{other}: Yes, it is {value}.",
    "And {key}, which {attribute}?\n{other}: I have {value}.",
    "My friend {key} has {attribute} {value}.",
    "Write down {key}: {attribute} {value}.",
)
_ASKED_ALOUD = (
    "What is the {attribute} of {key}?",
    "Do you still know the {attribute} of {key}?",
    "{other}, which {attribute} does {key} have?",
    "And {key}? I mean the {attribute}.",
    "What was the {attribute} with {key}?",
    "I forgot the {attribute} of {key}.",
    "Can you say the {attribute} for {key}?",
    "{key}, what {attribute}?",
)
_REPLIES = (
    *("It is", "The answer is", "Sure, it is", "That was", "I have", "Yes,", "Hm, I think", "Of course:", "It says"),
    *("Here it is:", "As I said,", "You told me"),
)

_DIALOGUE = Family(
    attributes=_TEXT.attributes,
    statements=tuple(
        f"{{speaker}}: {statement}"
        for statement in (*_TEXT.statements[: _FORMS // 2], *_TOLD * (_FORMS // 2 // len(_TOLD)))
    ),
    questions=(
        *(f"{{speaker}}: {question}" for question in _TEXT.questions[::2]),
        *tuple(f"{{speaker}}: {asked}\n{{other}}: {reply}" for asked in _ASKED_ALOUD for reply in _REPLIES) * 12,
    ),
    lengths=_TEXT.lengths,
    test=False,
    names=("Alice", "Ben", "Carla", "David", "Emma", "Frank", "Grace", "Henry", "Iris", "James", "Karen", "Liam"),
    lead="\n",
)

_OTHER_DIALOGUE = Family(
    attributes=_OTHER_TEXT.attributes,
    statements=(
        "{speaker}: Keep in mind, {other}: {key} uses the {attribute} {value}.",
        "{speaker}: They gave {key} a new {attribute}, namely {value}.",
    ),
    questions=(
        "{speaker}: Tell me the {attribute} that {key} uses.\n{other}: That would be",
        "{speaker}: Any idea about {key}?\n{other}: The new {attribute} must be",
    ),
    lengths=_OTHER_TEXT.lengths,
    test=True,
    names=("Melanie", "Caroline", "Oscar", "Petra", "Quentin", "Rosa"),
    lead="\n",
)

FAMILIES: Mapping[str, Mapping[FamilyName, Family]] = MappingProxyType(
    {
        kind: MappingProxyType(
            {"training": training, "similar": replace(training, lengths=(5,), test=True), "disjoint": disjoint}
        )
        for kind, training, disjoint in (
            ("text", _TEXT, _OTHER_TEXT),
            ("dialogue", _DIALOGUE, _OTHER_DIALOGUE),
        )
    }
)
"""By kind of text, and by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DnaFamily:
    """Needles in DNA: a motif, a key, a spacer, a payload."""

    spacers: tuple[str, ...]
    lengths: tuple[int, ...]
    """Bases of a payload; what is here more often is drawn more often."""
    test: bool
    """Whether its keys are those that training may not see."""


_SPACERS = ("CCTAGG", "AAGCTT", "GGTACC", "TCTAGA", "CAGCTG", "GTCGAC", "ACTAGT", "CTGCAG")

DNA: Mapping[FamilyName, DnaFamily] = MappingProxyType(
    {
        "training": DnaFamily(spacers=_SPACERS, lengths=(8, 8, 8, 6, 10), test=False),
        "similar": DnaFamily(spacers=_SPACERS, lengths=(8,), test=True),
        "disjoint": DnaFamily(spacers=("GAATTC", "GCATGC"), lengths=(7, 9), test=True),
    }
)

_DISTRACTORS = (
    "{key} went home and came back later.",
    "There are {value} pages in this book.",
    "In the year {value} nothing happened.",
    "Nobody has seen {key} since then.",
    "The meeting took {value} minutes.",
    "{key} and {other} are friends.",
    "About {value} people live there.",
    "What {key} said to {other} is not known.",
    "See section {value} for more about this.",
    "The train left at {value} and was full.",
)


def distractor(rng: random.Random, *, test: bool, wording: Wording | None = None) -> str:
    """Return a sentence with a name or a number, as needles have, that states nothing to be asked for.

    Args:
        rng: draws all.
        test: whose names.
        wording: where there is one, most of the sentences are made of it: those with a number twice as often as those
            with a name, since there are more of them in texts.
    """
    key, other = draw(rng, 2, test=test)
    form = rng.choice(_DISTRACTORS)
    if wording is not None and rng.random() < 0.6:
        named, numbered = ("{key}",), ("{value}", rng.choice(wording.phrases))
        form = f"{loose(rng, wording, rng.choice((named, numbered, numbered)))}."
    return form.format(key=key, other=other, value=rng.randrange(10 ** rng.randint(1, 6)))
