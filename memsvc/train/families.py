"""Needles: what is hidden in a text and asked for later. Which of them training may see is decided here alone.

`disjoint` shares nothing with `training`: no form of sentence or question, no attribute, no key, no length of a value,
no speaker. `similar` has training's forms, new keys, and the length that training sees most.
"""

import itertools
import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

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
_CLAUSES = (
    *("the {attribute} of {key} is", "the {attribute} for {key} is", "{key} has the {attribute}"),
    *("{key}'s {attribute} is", "{key} got a {attribute}, which is", "{key} was given the {attribute}"),
    *("the {attribute} that {key} chose is", "{key} lives at {attribute}", "{key} is listed with {attribute}"),
    *("{key} changed the {attribute} to", "we know {key} by the {attribute}", "{key} works at {attribute}"),
    *("we met {key}, whose {attribute} is", "{key} came with a {attribute}:", "there is {key}, and the {attribute} is"),
    *("{key} keeps {attribute}", "for {key}, the {attribute} is", "as for {key}, its {attribute} is"),
    *("according to {key}, the {attribute} is", "{key}: {attribute}", "if you meet {key}, the {attribute} is"),
    *("{key} told us that the {attribute} is", "the file shows {key} with {attribute}", "{key} bought {attribute}"),
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


def _sentences(*parts: tuple[str, ...]) -> tuple[str, ...]:
    """Return all ways to put one of each together, the first letter large unless it is a key's."""
    joined = ("".join(chosen) for chosen in itertools.product(*parts))
    return tuple(form if form.startswith("{") else form[0].upper() + form[1:] for form in joined)


_TEXT = Family(
    attributes=(*(f"{kind} {noun}" for kind in _ADJECTIVES for noun in _NOUNS), *_NOUNS * 4),
    statements=_sentences(_OPENINGS, _CLAUSES, (" {value}",), _ENDINGS),
    questions=_sentences(_LEADS, _ASKED),
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

_DIALOGUE = Family(
    attributes=_TEXT.attributes,
    statements=(
        "{speaker}: The {attribute} of {key} is {value}.",
        "{speaker}: By the way, the {attribute} of {key} is {value}.",
        "{speaker}: {other}, please remember that the {attribute} for {key} is {value}.",
        "{speaker}: I have it here, {key} has the {attribute} {value}.",
        "{speaker}: For {key} we took the {attribute} {value}, {other}.",
        "{speaker}: Did I tell you? {key} got {attribute} {value} today.",
        "{speaker}: What about {key}?\n{other}: The {attribute} is {value}.",
        "{speaker}: Do you know the {attribute} of {key}?\n{other}: Yes, it is {value}.",
        "{speaker}: My friend {key} has {attribute} {value}.",
        "{speaker}: Write down {key}: {attribute} {value}.",
    ),
    questions=(
        "{speaker}: What is the {attribute} of {key}?\n{other}: It is",
        "{speaker}: Do you still know the {attribute} of {key}?\n{other}: Sure, it is",
        "{speaker}: {other}, which {attribute} does {key} have?\n{other}: The answer is",
        "{speaker}: And {key}?\n{other}: The {attribute} is",
        "{speaker}: Again, the {attribute} for {key} is",
        "{speaker}: I think {key} has the {attribute}",
        "{speaker}: What was it with {key}?\n{other}: {attribute}",
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


def distractor(rng: random.Random, *, test: bool) -> str:
    """Return a sentence with a name or a number, as needles have, that states nothing to be asked for."""
    key, other = draw(rng, 2, test=test)
    return rng.choice(_DISTRACTORS).format(key=key, other=other, value=rng.randrange(10 ** rng.randint(1, 5)))
